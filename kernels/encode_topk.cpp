#include "kernels/encode_topk.h"

#include <fmt/core.h>

#include "kernels/back_ends.h"
#include "kernels/registry.h"

namespace assay {

namespace {

constexpr Operation<decltype(encode_topk)> kEncodeTopk{"encode_topk", {encode_topk_cpu, nullptr}};

}  // namespace

void check_encoder(const char* operation, ConstMatrix x, const Encoder& e) {
  if (x.cols != e.w.cols) {
    throw UsageError(fmt::format("{}: activations have d = {}, the encoder has d = {}", operation, x.cols, e.w.cols));
  }
  if (e.screen->latents() != e.w.rows) {
    throw UsageError(fmt::format("{}: the screening copy is of another encoder", operation));
  }
}

void encode_topk(Context& context, ConstMatrix x, const Encoder& encoder, int64_t k, SparseCodes& out,
                 NumericFlag& flag) {
  check_encoder("encode_topk", x, encoder);
  if (k < 1 || k > encoder.w.rows) {
    throw UsageError(fmt::format("encode_topk: k = {} is outside 1…n = {}", k, encoder.w.rows));
  }
  kEncodeTopk.on(context.device())(context, x, encoder, k, out, flag);
}

}  // namespace assay
