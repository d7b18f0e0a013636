// Single tokens of chosen texts and their codes, for what the mean over a text is not enough.
#pragma once

#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include "data/dataset.h"
#include "eval/encoding/text_table.h"
#include "eval/learners/text_tokens.h"
#include "kernels/base/context.h"
#include "sae/dictionary.h"

namespace assay::eval {

/// Special tokens and sinks are left out; activations are raw. Memory: 4 · d bytes a token, and 8 a
/// pair of the codes.
class TokenStore {
 public:
  /// The first `longest` tokens of `texts` (indices into the table; any order, repeats fine).
  TokenStore(Context& context, const data::Dataset& dataset, const TextTable& table,
             std::span<const sae::Dictionary* const> dictionaries, std::vector<int64_t> texts,
             int64_t longest);

  // Of texts among those, in the order given. Throw Error on any other.
  TextTokens dense(const std::vector<int64_t>& texts) const;
  /// Latents with a positive value on any of their tokens, ascending.
  std::vector<int32_t> active(size_t dictionary, const std::vector<int64_t>& texts) const;
  /// Positive values of the chosen latents (ascending), which become the features.
  TextTokens latents(size_t dictionary, const std::vector<int64_t>& texts,
                     const std::vector<int32_t>& chosen) const;

 private:
  std::pair<int64_t, int64_t> tokens_of(int64_t text) const;

  int64_t d_ = 0;
  std::vector<float> x_;            // [tokens, d]
  std::vector<SparseCodes> codes_;  // [dictionaries] [tokens]
  std::vector<int64_t> start_{0};   // [slots + 1]
  std::vector<int64_t> texts_;      // [slots] ascending
};

}  // namespace assay::eval
