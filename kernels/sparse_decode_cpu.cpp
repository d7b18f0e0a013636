#include <algorithm>

#include "kernels/back_ends.h"
#include "kernels/pair_tiles.h"
#include "kernels/prefetch.h"
#include "kernels/primitives.h"

namespace assay {

namespace {

/// row += Σ value·w_dec[index] over `count` pairs in order, those of value 0 left out; four at a time.
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
  const auto begin = [&](int64_t i) {
    if (bias != nullptr) {
      std::copy_n(bias, out.cols, out.row(i));
    } else {
      std::fill_n(out.row(i), out.cols, 0.0f);
    }
  };
  for_pairs_of_tiles(context, codes, begin, [&](int64_t i, int64_t first, int64_t count) {
    add_pairs(p, codes.indices.data() + first, codes.values.data() + first, count, w_dec, out.row(i));
  });
}

}  // namespace assay
