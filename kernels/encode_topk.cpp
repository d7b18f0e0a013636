#include "kernels/encode_topk.h"

#include <fmt/core.h>

#include <limits>

#include "kernels/back_ends.h"
#include "kernels/registry.h"

namespace assay {

namespace {

constexpr Operation<decltype(encode_topk)> kEncodeTopk{
    "encode_topk", {encode_topk_cpu, ASSAY_CUDA_BACK_END(encode_topk_cuda)}};

}  // namespace

void check_encoder(const char* operation, ConstMatrix x, const Encoder& e) {
  if (x.cols != e.w.cols) {
    throw UsageError(fmt::format("{}: activations have d = {}, the encoder has d = {}", operation,
                                 x.cols, e.w.cols));
  }
  if (e.w.rows > std::numeric_limits<int32_t>::max()) {
    throw UsageError(fmt::format("{}: n = {} latents are more than an index holds (2147483647)",
                                 operation, e.w.rows));
  }
  if (e.screen->latents() != e.w.rows || e.screen->pairs() != (e.w.cols + 1) / 2) {
    throw UsageError(fmt::format(
        "{}: the screening copy is of {} latents and {} pairs of dimensions, the encoder is "
        "[{}, {}]",
        operation, e.screen->latents(), e.screen->pairs(), e.w.rows, e.w.cols));
  }
}

void encode_topk(Context& context, ConstMatrix x, const Encoder& encoder, int64_t k,
                 SparseCodes& out, NumericFlag& flag) {
  const auto& back_end = kEncodeTopk.on(context.device());
  check_encoder("encode_topk", x, encoder);
  if (k < 1 || k > encoder.w.rows) {
    throw UsageError(fmt::format("encode_topk: k = {} is outside 1…n = {}", k, encoder.w.rows));
  }
  out.row_offsets.resize(x.rows + 1);
  for (int64_t i = 0; i <= x.rows; ++i) out.row_offsets[i] = i * k;
  out.indices.resize(x.rows * k);
  out.values.resize(x.rows * k);
  back_end(context, x, encoder, k, out, flag);
}

}  // namespace assay
