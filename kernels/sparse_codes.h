// SparseCodes: the one form in which every variant's active latents meet (CSR over rows).
#pragma once

#include <cstdint>
#include <vector>

namespace assay {

/// Codes of B rows over n latents. Row i owns the pairs [row_offsets[i], row_offsets[i+1]).
/// A latent has at most one pair a row, but for pairs of value 0 (a row short of k winners is
/// filled up with them). TopK keeps non-positive winners as explicit zeros (exactly k pairs a row);
/// L0 and firing count values > 0.
struct SparseCodes {
  std::vector<int64_t> row_offsets{0};  ///< [B+1], row_offsets[0] = 0, non-decreasing
  std::vector<int32_t> indices;         ///< latent of each pair, in [0, n)
  std::vector<float> values;            ///< activation of each pair, fp32

  int64_t rows() const { return static_cast<int64_t>(row_offsets.size()) - 1; }
  int64_t pairs() const { return row_offsets.back(); }
};

}  // namespace assay
