#include "kernels/sparse_backward.h"

#include <fmt/core.h>

#include <algorithm>
#include <utility>
#include <vector>

#include "kernels/back_ends.h"
#include "kernels/base/error.h"
#include "kernels/registry.h"

namespace assay {

namespace {

constexpr int kMostParts = 8;  // each holds n counts

constexpr Operation<decltype(value_gradient)> kValueGradient{
    "value_gradient", {value_gradient_cpu, ASSAY_CUDA_BACK_END(value_gradient_cuda)}};

}  // namespace

void value_gradient(Context& context, const SparseCodes& codes, ConstMatrix g, ConstMatrix w_dec,
                    std::vector<float>& out) {
  if (g.rows != codes.rows() || g.cols != w_dec.cols) {
    throw UsageError(fmt::format(
        "value_gradient: gradients [{}, {}] do not fit codes of {} rows and a decoder of d = {}",
        g.rows, g.cols, codes.rows(), w_dec.cols));
  }
  kValueGradient.on(context.device())(context, codes, g, w_dec, out);
}

void sort_by_latent(Context& context, const SparseCodes& codes, int64_t n,
                    const float* decode_weights, const float* encode_weights, PairsByLatent& out) {
  const auto counts = [&](int64_t p) {
    return (decode_weights != nullptr && decode_weights[p] != 0) ||
           (encode_weights != nullptr && encode_weights[p] != 0);
  };
  // Each part counts, and later places, the pairs of its own rows; parts follow one another within
  // a latent.
  const int64_t parts =
      std::clamp<int64_t>(codes.rows() / 64, 1, std::min(context.pool().threads(), kMostParts));
  const auto visit = [&](int64_t part, const auto& body) {
    for (int64_t i = codes.rows() * part / parts; i < codes.rows() * (part + 1) / parts; ++i) {
      for (int64_t p = codes.row_offsets[i]; p < codes.row_offsets[i + 1]; ++p) {
        if (counts(p)) body(i, p);
      }
    }
  };
  std::vector<int64_t> next(parts * n);
  context.pool().run(parts, [&](int64_t part, int) {
    visit(part, [&](int64_t, int64_t p) { ++next[part * n + codes.indices[p]]; });
  });
  out.offsets.resize(n + 1);
  int64_t total = 0;
  for (int64_t j = 0; j < n; ++j) {
    out.offsets[j] = total;
    for (int64_t part = 0; part < parts; ++part) total += std::exchange(next[part * n + j], total);
  }
  out.offsets[n] = total;
  out.rows.resize(total);
  out.pairs.resize(total);
  context.pool().run(parts, [&](int64_t part, int) {
    visit(part, [&](int64_t i, int64_t p) {
      const int64_t place = next[part * n + codes.indices[p]]++;
      out.rows[place] = static_cast<int32_t>(i);
      out.pairs[place] = p;
    });
  });
}

void sum_by_latent(const SparseCodes& codes, const std::vector<float>& per_pair, int64_t n,
                   std::vector<float>& out) {
  out.assign(n, 0);
  for (int64_t p = 0; p < codes.pairs(); ++p) out[codes.indices[p]] += per_pair[p];
}

}  // namespace assay
