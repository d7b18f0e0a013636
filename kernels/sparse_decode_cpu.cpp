#include <algorithm>

#include "kernels/back_ends.h"
#include "kernels/pair_tiles.h"
#include "kernels/prefetch.h"
#include "kernels/primitives.h"

namespace assay {

namespace {

constexpr int64_t kMost = 32;

/// row += Σ value·w_dec[index] over `count` pairs in order, those of value 0 left out; few at a
/// time, prefetched, or many that are taken to be in cache.
void add_pairs(const Primitives& p, const int32_t* indices, const float* values, int64_t count,
               ConstMatrix w_dec, bool cached, float* row) {
  float alpha[kMost];
  const float* weights[kMost];
  const int64_t together = cached ? kMost : 4;
  int64_t waiting = 0;
  for (int64_t c = 0; c < count; ++c) {
    if (values[c] == 0) continue;
    alpha[waiting] = values[c];
    weights[waiting] = w_dec.row(indices[c]);
    if (!cached) prefetch_row(weights[waiting], w_dec.cols);
    if (++waiting < together) continue;
    p.axpys(alpha, weights, waiting, row, w_dec.cols);
    waiting = 0;
  }
  p.axpys(alpha, weights, waiting, row, w_dec.cols);
}

}  // namespace

void sparse_decode_cpu(Context& context, const SparseCodes& codes, ConstMatrix w_dec,
                       const float* bias, Matrix out) {
  const Primitives& p = primitives(context.isa());
  const auto begin = [&](int64_t i) {
    if (bias != nullptr) {
      std::copy_n(bias, out.cols, out.row(i));
    } else {
      std::fill_n(out.row(i), out.cols, 0.0f);
    }
  };
  const bool cached = dense(codes, w_dec.rows);
  for_pairs_of_tiles(context, codes, w_dec.rows, begin,
                     [&](int64_t i, int64_t first, int64_t count) {
                       add_pairs(p, codes.indices.data() + first, codes.values.data() + first,
                                 count, w_dec, cached, out.row(i));
                     });
}

}  // namespace assay
