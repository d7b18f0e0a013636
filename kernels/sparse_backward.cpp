#include "kernels/sparse_backward.h"

#include "kernels/back_ends.h"
#include "kernels/registry.h"

namespace assay {

namespace {

constexpr Operation<decltype(value_gradient)> kValueGradient{
    "value_gradient", {value_gradient_cpu, ASSAY_CUDA_BACK_END(value_gradient_cuda)}};

}  // namespace

void value_gradient(Context& context, const SparseCodes& codes, ConstMatrix g, ConstMatrix w_dec,
                    std::vector<float>& out) {
  kValueGradient.on(context.device())(context, codes, g, w_dec, out);
}

void sort_by_latent(const SparseCodes& codes, int64_t n, PairsByLatent& out) {
  out.offsets.assign(n + 1, 0);
  for (int64_t p = 0; p < codes.pairs(); ++p) {
    if (codes.values[p] != 0) ++out.offsets[codes.indices[p] + 1];
  }
  for (int64_t j = 0; j < n; ++j) out.offsets[j + 1] += out.offsets[j];
  out.rows.resize(out.offsets[n]);
  out.pairs.resize(out.offsets[n]);
  std::vector<int64_t> next(out.offsets.begin(), out.offsets.end() - 1);
  for (int64_t i = 0; i < codes.rows(); ++i) {
    for (int64_t p = codes.row_offsets[i]; p < codes.row_offsets[i + 1]; ++p) {
      if (codes.values[p] == 0) continue;
      const int64_t place = next[codes.indices[p]]++;
      out.rows[place] = static_cast<int32_t>(i);
      out.pairs[place] = p;
    }
  }
}

}  // namespace assay
