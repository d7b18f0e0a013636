// Texts as their single tokens, dense or sparse.
#pragma once

#include <cstdint>
#include <vector>

#include "kernels/sparse_codes.h"

namespace assay::eval {

/// The tokens of some texts, text after text, over some features.
struct TextTokens {
  int64_t features = 0;
  std::vector<int64_t> start{0};  ///< text i has tokens [start[i], start[i + 1]), at least one
  std::vector<float> dense;       ///< [tokens, features]; or empty, and then
  SparseCodes sparse;             ///< [tokens] over the features

  int64_t texts() const { return std::ssize(start) - 1; }
  int64_t tokens() const { return start.back(); }
};

}  // namespace assay::eval
