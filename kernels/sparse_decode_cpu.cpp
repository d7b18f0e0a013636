#include <algorithm>

#include "kernels/back_ends.h"
#include "kernels/prefetch.h"
#include "kernels/primitives.h"

namespace assay {

namespace {

/// row += Σ value·w_dec[index] over a row's pairs in order, those of value 0 left out; four at a time.
void add_pairs(const Primitives& p, const int32_t* indices, const float* values, int64_t count, ConstMatrix w_dec,
               float* row) {
  float alpha[4];
  const float* weights[4];
  int waiting = 0;
  for (int64_t c = 0; c < count; ++c) {
    if (values[c] == 0) continue;
    alpha[waiting] = values[c];
    weights[waiting] = w_dec.row(indices[c]);
    prefetch_row(weights[waiting], w_dec.cols);
    if (++waiting < 4) continue;
    p.axpy4(alpha, weights, row, w_dec.cols);
    waiting = 0;
  }
  for (int i = 0; i < waiting; ++i) p.axpy(alpha[i], weights[i], row, w_dec.cols);
}

}  // namespace

void sparse_decode_cpu(Context& context, const SparseCodes& codes, ConstMatrix w_dec, const float* bias, Matrix out) {
  const Primitives& p = primitives(context.isa());
  constexpr int64_t kRows = 32;
  context.pool().run((out.rows + kRows - 1) / kRows, [&](int64_t task, int) {
    for (int64_t i = task * kRows; i < std::min(out.rows, (task + 1) * kRows); ++i) {
      float* row = out.row(i);
      if (bias != nullptr) {
        std::copy_n(bias, out.cols, row);
      } else {
        std::fill_n(row, out.cols, 0.0f);
      }
      const int64_t first = codes.row_offsets[i];
      add_pairs(p, codes.indices.data() + first, codes.values.data() + first, codes.row_offsets[i + 1] - first, w_dec,
                row);
    }
  });
}

}  // namespace assay
