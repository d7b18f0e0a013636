// The order in which the CPU visits codes: tiles of rows, and within a tile the pairs of every row
// within one window of latents before those within the next. Where codes are dense the rows of a
// tile so meet the same weights while they are in cache; where they are sparse the window is wide
// and it costs nothing. A row's own pairs are visited in order.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>

#include "kernels/base/context.h"
#include "kernels/sparse_codes.h"

namespace assay {

/// Has a row at least every sixteenth of n latents, on average? Its neighbours' weights are then in
/// cache or arrive by the processor's own prefetching, and asking for them would only cost.
inline bool dense(const SparseCodes& codes, int64_t n) {
  return codes.pairs() * 16 >= codes.rows() * n;
}

/// body(row, first pair, count) over all pairs of codes over n latents, on the pool; begin(row)
/// once before a row's first. Indices ascend within a row.
template <class Begin, class Body>
void for_pairs_of_tiles(Context& context, const SparseCodes& codes, int64_t n, const Begin& begin,
                        const Body& body) {
  constexpr int64_t kRows = 32, kPairs = 32;
  // So many latents bring a row kPairs pairs on average.
  const int64_t width =
      std::max(kPairs, kPairs * codes.rows() * n / std::max<int64_t>(1, codes.pairs()));
  context.pool().run((codes.rows() + kRows - 1) / kRows, [&](int64_t task, int) {
    const int64_t first_row = task * kRows, rows = std::min(kRows, codes.rows() - first_row);
    std::array<int64_t, kRows> next{};
    for (int64_t r = 0; r < rows; ++r) {
      begin(first_row + r);
      next[r] = codes.row_offsets[first_row + r];
    }
    for (int64_t window = width; window < n + width; window += width) {
      for (int64_t r = 0; r < rows; ++r) {
        const int64_t first = next[r], end = codes.row_offsets[first_row + r + 1];
        while (next[r] < end && codes.indices[next[r]] < window) ++next[r];
        if (next[r] > first) body(first_row + r, first, next[r] - first);
      }
    }
  });
}

}  // namespace assay
