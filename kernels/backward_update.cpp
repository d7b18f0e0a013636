#include "kernels/backward_update.h"

#include <fmt/core.h>

#include "kernels/back_ends.h"
#include "kernels/registry.h"

namespace assay {

namespace {

constexpr Operation<decltype(backward_update)> kBackwardUpdate{
    "backward_update", {backward_update_cpu, ASSAY_CUDA_BACK_END(backward_update_cuda)}};

constexpr Operation<decltype(gradient_squares)> kGradientSquares{
    "gradient_squares", {gradient_squares_cpu, ASSAY_CUDA_BACK_END(gradient_squares_cuda)}};

void check(const char* operation, Device device, const BackwardInput& in, const LatentState& s,
           const UpdateOptions& options) {
  const int64_t rows = in.codes->rows();
  const auto fail = [&](const std::string& what) {
    throw UsageError(fmt::format("{}: {}", operation, what));
  };
  if (s.w_dec.rows != s.w_enc.rows || s.screen->latents() != s.w_enc.rows ||
      s.screen->pairs() != (s.w_enc.cols + 1) / 2) {
    fail(fmt::format(
        "an encoder [{}, {}], a decoder of {} rows and a screening copy of {} latents and {} pairs "
        "of "
        "dimensions do not fit",
        s.w_enc.rows, s.w_enc.cols, s.w_dec.rows, s.screen->latents(), s.screen->pairs()));
  }
  if (in.g.rows != rows || in.g.cols != s.w_dec.cols) {
    fail(fmt::format("codes of {} rows and a decoder of d = {} do not fit gradients [{}, {}]", rows,
                     s.w_dec.cols, in.g.rows, in.g.cols));
  }
  if (in.x.cols != s.w_enc.cols || (rows > 0 && (in.x.rows < 1 || rows % in.x.rows != 0))) {
    fail(fmt::format(
        "inputs [{}, {}] fit neither the encoder's d = {} nor a divisor of the codes' {} rows",
        in.x.rows, in.x.cols, s.w_enc.cols, rows));
  }
  if (options.held.any() && device != Device::cpu) fail("parameters are held on the CPU only");
  if (in.dec_blocks != nullptr && device != Device::cpu)
    fail("blocks of the decoder are for the CPU only");
  if (in.dec_blocks != nullptr &&
      (in.dec_blocks->empty() || in.dec_blocks->back() != s.w_dec.cols)) {
    fail(fmt::format("the decoder's blocks must end at d = {}", s.w_dec.cols));
  }
  for (const auto* weights : {in.d_values, in.dec_values, in.d_bias}) {
    if (weights != nullptr && static_cast<int64_t>(weights->size()) != in.codes->pairs()) {
      fail(fmt::format("{} weights for {} pairs", weights->size(), in.codes->pairs()));
    }
  }
}

}  // namespace

void backward_update(Context& context, const BackwardInput& input, const LatentState& state,
                     const UpdateOptions& options, float* center_gradient) {
  check("backward_update", context.device(), input, state, options);
  if (context.device() != Device::cpu &&
      (state.w_enc_narrow != nullptr || state.w_dec_narrow != nullptr)) {
    throw UsageError(
        "backward_update: moments in bf16 or 8bit are stepped on the CPU alone; use fp32 on a "
        "device");
  }
  kBackwardUpdate.on(context.device())(context, input, state, options, center_gradient);
}

double gradient_squares(Context& context, const BackwardInput& input, const LatentState& state,
                        const UpdateOptions& options) {
  check("gradient_squares", context.device(), input, state, options);
  return kGradientSquares.on(context.device())(context, input, state, options);
}

}  // namespace assay
