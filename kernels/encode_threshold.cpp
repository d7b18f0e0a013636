#include "kernels/encode_threshold.h"

#include <algorithm>
#include <cmath>

#include "kernels/back_ends.h"
#include "kernels/registry.h"

namespace assay {

namespace {

constexpr Operation<decltype(encode_threshold)> kEncodeThreshold{
    "encode_threshold", {encode_threshold_cpu, ASSAY_CUDA_BACK_END(encode_threshold_cuda)}};

}  // namespace

void encode_threshold(Context& context, ConstMatrix x, const Encoder& encoder, const float* theta,
                      float band, SparseCodes& out, std::vector<float>* pre, NumericFlag& flag) {
  check_encoder("encode_threshold", x, encoder);
  if (!(band >= 0)) throw UsageError("encode_threshold: the band must be at least 0");
  const auto& back_end = kEncodeThreshold.on(context.device());
  out.row_offsets.assign(x.rows + 1, 0);
  out.indices.clear();
  out.values.clear();
  if (pre != nullptr) pre->clear();
  if (std::all_of(theta, theta + encoder.w.rows, [](float v) { return std::isfinite(v); })) {
    back_end(context, x, encoder, theta, band, out, pre, flag);
  } else if (x.rows > 0) {
    flag.raise(0);
  }
}

}  // namespace assay
