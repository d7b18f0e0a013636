#include "kernels/sparse_decode.h"

#include <fmt/core.h>

#include "kernels/back_ends.h"
#include "kernels/registry.h"

namespace assay {

namespace {

constexpr Operation<decltype(sparse_decode)> kSparseDecode{
    "sparse_decode", {sparse_decode_cpu, ASSAY_CUDA_BACK_END(sparse_decode_cuda)}};

}  // namespace

void sparse_decode(Context& context, const SparseCodes& codes, ConstMatrix w_dec, const float* bias,
                   Matrix out) {
  const auto& back_end = kSparseDecode.on(context.device());
  if (codes.rows() != out.rows || w_dec.cols != out.cols) {
    throw UsageError(fmt::format(
        "sparse_decode: codes of {} rows and a decoder of d = {} do not fit an output [{}, {}]",
        codes.rows(), w_dec.cols, out.rows, out.cols));
  }
  back_end(context, codes, w_dec, bias, out);
}

}  // namespace assay
