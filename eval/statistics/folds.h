// Two folds of classes or goals: what is chosen on one is used on the other.
#pragma once

#include <cstdint>
#include <vector>

#include "kernels/base/random.h"

namespace assay::eval {

/// The fold, 0 or 1, of each of `count` classes or goals: as many of either (one 1 more if `count`
/// is odd), at random.
inline std::vector<int8_t> tuning_folds(int64_t count, uint64_t seed) {
  std::vector<int8_t> fold(static_cast<std::size_t>(count));
  const std::vector<int64_t> order = Rng(derive_seed(seed, {'h'})).permutation(count);
  for (std::size_t i = 0; i < order.size(); i += 2) fold[static_cast<std::size_t>(order[i])] = 1;
  return fold;
}

}  // namespace assay::eval
