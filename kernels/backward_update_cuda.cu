// backward_update on a device, from the pairs ordered by latent (a stable counting sort, done on the host).
//   1. db_enc: a thread a latent sums its pairs in row order.
//   2. The centre's gradient Σ_j db_enc[j]·W_enc[j], from the weights before the step: partial sums over the CPU's
//   parts
//      of latents, a thread a column; then the parts in order. This reads W_enc once more than the CPU does.
//   3. The step, a block a latent: each thread sums both gradients of its columns over the latent's pairs in row order
//      (the encoder's stays in a register, the decoder's row in shared memory), the block removes the decoder
//      gradient's part along its row, takes both Adam steps, renormalises, and refreshes the row's bf16 copy. Dots are
//      in canonical order, by 16 lanes. No atomics, no n×d gradient.
// Every sum runs in the CPU's order with the CPU's roundings (fused where it says so: compiled without contraction,
// with IEEE division and square root), so parameters, moments and centre have the CPU's bits by construction.
//
// Workspace: n + 128·d floats, and (d + 1) floats of shared memory a block. Speed: not measured (no device yet).
#include "kernels/back_ends.h"
#include "kernels/backward_update.cuh"
#include "kernels/cuda_launch.cuh"

namespace assay {

namespace {

/// A parameter with its moments, staged through device memory.
struct Parameter {
  Matrix p, m, v;
  DeviceMatrix device_p, device_m, device_v;

  Parameter(Matrix p_, Matrix m_, Matrix v_) : p(p_), m(m_), v(v_), device_p(p), device_m(m), device_v(v) {}
  void download() const {
    device_p.download(p);
    device_m.download(m);
    device_v.download(v);
  }
};

/// What the kernels here do not do is refused, never done another way.
void check_supported(const BackwardInput& in, const LatentState& s, const UpdateOptions& options,
                     const float* center_gradient) {
  if (in.dec_values != nullptr || in.d_bias != nullptr || in.dec_shrink != nullptr || options.gradient_scale != 1 ||
      center_gradient == nullptr || in.x.rows != in.g.rows || s.w_enc.cols != s.w_dec.cols) {
    throw UsageError(
        "backward_update on cuda takes one weight a pair, as many inputs as gradient rows, d_in = d_out, a centre and "
        "no clipping; use device cpu for anything else");
  }
}

}  // namespace

void backward_update_cuda(Context& context, const BackwardInput& input, const LatentState& state,
                          const UpdateOptions& options, float* center_gradient) {
  check_supported(input, state, options, center_gradient);
  const int64_t n = state.w_enc.rows, d = state.w_enc.cols;
  PairsByLatent order;
  sort_by_latent(context, *input.codes, n, input.codes->values.data(), input.d_values->data(), order);
  const DeviceArray<float> values(input.codes->values), d_values(*input.d_values);
  const DeviceMatrix g(input.g), x(input.x);
  const DeviceArray<int64_t> offsets(order.offsets), pairs(order.pairs);
  const DeviceArray<int32_t> rows(order.rows);
  const Parameter enc(state.w_enc, state.w_enc_m, state.w_enc_v), dec(state.w_dec, state.w_dec_m, state.w_dec_v);
  const Parameter bias({state.b_enc, 1, n}, {state.b_enc_m, 1, n}, {state.b_enc_v, 1, n});
  const DeviceArray<bf16> copy(n * d);
  const DeviceArray<float> bias_gradient(n), center_parts(center_parts_of(n) * d), center(d);
  launch_backward_update(DeviceLauncher{}, {values.data(),
                                            d_values.data(),
                                            g.view(),
                                            x.view(),
                                            offsets.data(),
                                            rows.data(),
                                            pairs.data(),
                                            enc.device_p.view(),
                                            enc.device_m.view(),
                                            enc.device_v.view(),
                                            dec.device_p.view(),
                                            dec.device_m.view(),
                                            dec.device_v.view(),
                                            bias.device_p.view().data,
                                            bias.device_m.view().data,
                                            bias.device_v.view().data,
                                            copy.data(),
                                            options,
                                            bias_gradient.data(),
                                            center_parts.data(),
                                            center.data()});
  for (const Parameter* parameter : {&enc, &dec, &bias}) parameter->download();
  center.download(center_gradient);
  state.screen->refresh(context, state.w_enc);  // the CPU's packed form of the copy
}

}  // namespace assay
