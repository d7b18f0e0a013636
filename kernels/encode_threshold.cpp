#include "kernels/encode_threshold.h"

#include "kernels/back_ends.h"
#include "kernels/registry.h"

namespace assay {

namespace {

constexpr Operation<decltype(encode_threshold)> kEncodeThreshold{
    "encode_threshold", {encode_threshold_cpu, ASSAY_CUDA_BACK_END(encode_threshold_cuda)}};

}  // namespace

void encode_threshold(Context& context, ConstMatrix x, const Encoder& encoder, const float* theta, float band,
                      SparseCodes& out, std::vector<float>* pre, NumericFlag& flag) {
  check_encoder("encode_threshold", x, encoder);
  if (!(band >= 0)) throw UsageError("encode_threshold: the band must be at least 0");
  kEncodeThreshold.on(context.device())(context, x, encoder, theta, band, out, pre, flag);
}

}  // namespace assay
