// The order in which the CPU visits codes: tiles of rows, and within a tile a few pairs of every row before the next
// few of any. Indices ascend within a row, so where codes are dense the rows of a tile meet the same weights at the
// same time, in cache; where they are sparse it costs nothing. A row's own pairs are visited in order.
#pragma once

#include <algorithm>
#include <cstdint>

#include "kernels/context.h"
#include "kernels/sparse_codes.h"

namespace assay {

/// body(row, first pair, count) over all pairs of codes, on the pool; begin(row) once before a row's first.
template <class Begin, class Body>
void for_pairs_of_tiles(Context& context, const SparseCodes& codes, const Begin& begin, const Body& body) {
  constexpr int64_t kRows = 32, kPairs = 32;
  context.pool().run((codes.rows() + kRows - 1) / kRows, [&](int64_t task, int) {
    const int64_t first_row = task * kRows, end_row = std::min(codes.rows(), first_row + kRows);
    int64_t longest = 0;
    for (int64_t i = first_row; i < end_row; ++i) {
      begin(i);
      longest = std::max(longest, codes.row_offsets[i + 1] - codes.row_offsets[i]);
    }
    for (int64_t done = 0; done < longest; done += kPairs) {
      for (int64_t i = first_row; i < end_row; ++i) {
        const int64_t first = codes.row_offsets[i] + done;
        const int64_t count = std::min(kPairs, codes.row_offsets[i + 1] - first);
        if (count > 0) body(i, first, count);
      }
    }
  });
}

}  // namespace assay
