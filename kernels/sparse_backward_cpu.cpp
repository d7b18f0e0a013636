#include <algorithm>

#include "kernels/primitives.h"
#include "kernels/sparse_backward.h"

namespace assay {

void value_gradient(Context& context, const SparseCodes& codes, ConstMatrix g, ConstMatrix w_dec,
                    std::vector<float>& out) {
  const Primitives& p = primitives(context.isa());
  out.resize(codes.pairs());
  constexpr int64_t kRows = 32;
  context.pool().run((codes.rows() + kRows - 1) / kRows, [&](int64_t task, int) {
    for (int64_t i = task * kRows; i < std::min(codes.rows(), (task + 1) * kRows); ++i) {
      const int64_t end = codes.row_offsets[i + 1];
      int64_t pair = codes.row_offsets[i];
      for (; pair + 4 <= end; pair += 4) {
        const float* rows[4];
        for (int c = 0; c < 4; ++c) rows[c] = w_dec.row(codes.indices[pair + c]);
        p.dot4(g.row(i), rows, g.cols, out.data() + pair);
      }
      for (; pair < end; ++pair) out[pair] = p.dot(g.row(i), w_dec.row(codes.indices[pair]), g.cols);
      for (pair = codes.row_offsets[i]; pair < end; ++pair) {
        if (!(codes.values[pair] > 0)) out[pair] = 0;
      }
    }
  });
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
