// The bodies of backward_update_cuda.cu, and the order they run in; see there for the algorithm.
#pragma once

#include <cmath>

#include "kernels/backward_update.h"
#include "kernels/cuda_thread.cuh"
#include "kernels/dtype.h"

namespace assay {

/// BackwardInput, the pairs by latent, and LatentState in device memory.
struct DeviceUpdate {
  const float* values;     ///< of each pair
  const float* d_values;   ///< of each pair
  ConstMatrix g, x;        ///< [B', d]
  const int64_t* offsets;  ///< [n + 1] PairsByLatent
  const int32_t* rows;
  const int64_t* pairs;
  Matrix w_enc, w_enc_m, w_enc_v, w_dec, w_dec_m, w_dec_v;  ///< [n, d]
  float *b_enc, *b_enc_m, *b_enc_v;                         ///< [n]
  bf16* copy;                                               ///< [n, d] of w_enc, refreshed; row-major
  UpdateOptions options;
  float* bias_gradient;  ///< [n] workspace
  float* center_parts;   ///< [center_parts_of(n), d] workspace
  float* center;         ///< [d]
};

/// The parts the centre's gradient is summed in: the CPU's.
constexpr int64_t center_parts_of(int64_t n) {
  const int64_t blocks = (n + kScreenBlock - 1) / kScreenBlock;
  return blocks < kCenterParts ? blocks : kCenterParts;
}

/// db_enc, a thread a latent.
struct BiasGradientKernel {
  static constexpr const char* kName = "backward_update: bias gradient";
  static constexpr int kThreads = 128;
  DeviceUpdate u;

  template <class Thread>
  ASSAY_DEVICE void operator()(Thread& t) const {
    const int64_t j = t.block() * kThreads + t.thread();
    if (j >= u.w_enc.rows) return;
    float sum = 0;
    for (int64_t o = u.offsets[j]; o < u.offsets[j + 1]; ++o) sum += u.d_values[u.pairs[o]];
    u.bias_gradient[j] = sum;
  }
};

/// Σ_j db_enc[j]·W_enc[j] over the latents of one part; a thread a column.
struct CenterPartKernel {
  static constexpr const char* kName = "backward_update: centre";
  static constexpr int kThreads = 128;
  DeviceUpdate u;

  template <class Thread>
  ASSAY_DEVICE void operator()(Thread& t) const {
    const int64_t n = u.w_enc.rows, d = u.w_enc.cols;
    const int64_t columns = (d + kThreads - 1) / kThreads;
    const int64_t part = t.block() / columns, c = t.block() % columns * kThreads + t.thread();
    if (c >= d) return;
    const int64_t blocks = (n + kScreenBlock - 1) / kScreenBlock, parts = center_parts_of(n);
    const int64_t first = blocks * part / parts * kScreenBlock, end = blocks * (part + 1) / parts * kScreenBlock;
    float sum = 0;
    for (int64_t j = first; j < (end < n ? end : n); ++j) {
      if (u.bias_gradient[j] != 0) sum = fmaf(u.bias_gradient[j], u.w_enc.row(j)[c], sum);
    }
    u.center_parts[part * d + c] = sum;
  }
};

/// The parts' sum, in order; a thread a column.
struct CenterSumKernel {
  static constexpr const char* kName = "backward_update: centre's sum";
  static constexpr int kThreads = 128;
  DeviceUpdate u;

  template <class Thread>
  ASSAY_DEVICE void operator()(Thread& t) const {
    const int64_t d = u.w_enc.cols, c = t.block() * kThreads + t.thread();
    if (c >= d) return;
    float sum = 0;
    for (int64_t part = 0; part < center_parts_of(u.w_enc.rows); ++part) sum += u.center_parts[part * d + c];
    u.center[c] = sum;
  }
};

/// Both gradient rows of a latent and its whole step; a block a latent.
struct LatentStepKernel {
  static constexpr const char* kName = "backward_update: step";
  static constexpr int kThreads = 128;
  DeviceUpdate u;

  static size_t shared_bytes(int64_t d) { return static_cast<size_t>(d + 1) * sizeof(float); }

  template <class Thread>
  ASSAY_DEVICE void operator()(Thread& t) const {
    float* gradient = reinterpret_cast<float*>(t.shared());  // [d] of the decoder's row
    const int64_t j = t.block(), d = u.w_enc.cols;
    float* dec = u.w_dec.row(j);
    for (int64_t c = t.thread(); c < d; c += kThreads) {
      float enc = 0;
      sum_pairs(j, c, gradient[c], enc);
      step(enc, u.w_enc.row(j)[c], u.w_enc_m.row(j)[c], u.w_enc_v.row(j)[c]);
      u.copy[j * d + c] = to_bf16(u.w_enc.row(j)[c]);
    }
    const bool unit = u.options.unit_norm;
    const float along = unit ? -block_dot(t, gradient, dec, gradient + d) : 0.0f;
    for (int64_t c = t.thread(); c < d; c += kThreads) {
      const float projected = unit ? fmaf(along, dec[c], gradient[c]) : gradient[c];
      step(projected, dec[c], u.w_dec_m.row(j)[c], u.w_dec_v.row(j)[c]);
    }
    if (unit) {
      const float scale = 1 / sqrtf(block_dot(t, dec, dec, gradient + d));
      for (int64_t c = t.thread(); c < d; c += kThreads) dec[c] *= scale;
    }
    if (t.thread() == 0) step(u.bias_gradient[j], u.b_enc[j], u.b_enc_m[j], u.b_enc_v[j]);
  }

 private:
  ASSAY_DEVICE void sum_pairs(int64_t j, int64_t c, float& dec, float& enc) const {
    float dec_sum = 0, enc_sum = 0;
    for (int64_t o = u.offsets[j]; o < u.offsets[j + 1]; ++o) {
      const int64_t pair = u.pairs[o], row = u.rows[o];
      dec_sum = fmaf(u.values[pair], u.g.row(row)[c], dec_sum);
      enc_sum = fmaf(u.d_values[pair], u.x.row(row)[c], enc_sum);
    }
    dec = dec_sum;
    enc = enc_sum;
  }

  /// The scalar primitive's Adam, operation by operation.
  ASSAY_DEVICE void step(float g, float& p, float& m, float& v) const {
    const AdamStep& s = u.options.adam;
    m = fmaf(s.beta1, m, (1 - s.beta1) * g);
    v = fmaf(s.beta2, v, ((1 - s.beta2) * g) * g);
    p -= s.lr * m / (sqrtf(v * s.v_scale) + s.eps);
  }

  /// The canonical dot of two rows that the whole block has written; every thread gets it through `slot`.
  template <class Thread>
  ASSAY_DEVICE float block_dot(Thread& t, const float* a, const float* b, float* slot) const {
    t.sync();  // the rows are written, and the slot has been read
    if (t.thread() < kWarp) {
      const float sum = canonical_dot(t, a, b, u.w_enc.cols);
      if (t.thread() == 0) *slot = sum;
    }
    t.sync();
    return *slot;
  }
};

/// Launches the four kernels in order. `launch(kernel, blocks, shared bytes)` is a device's launcher or the emulator's.
template <class Launch>
void launch_backward_update(const Launch& launch, const DeviceUpdate& u) {
  const int64_t n = u.w_enc.rows, d = u.w_enc.cols;
  const auto blocks = [](int64_t threads) { return (threads + 127) / 128; };
  launch(BiasGradientKernel{u}, blocks(n), 0);
  launch(CenterPartKernel{u}, center_parts_of(n) * blocks(d), 0);
  launch(CenterSumKernel{u}, blocks(d), 0);
  launch(LatentStepKernel{u}, n, LatentStepKernel::shared_bytes(d));
}

}  // namespace assay
