// Which parts a text may fall into where the table holds texts back from tests.
#pragma once

#include <array>
#include <cstdint>

#include "eval/encoding/text_table.h"

namespace assay::eval::unlearning {

/// `counts`, the sizes that parts are drawn by, of which the last one is the test part. Where texts
/// are held back, they fill the other parts, and all others are test texts.
template <size_t Parts>
std::array<int64_t, Parts> counts_for(const TextTable& texts, int64_t text,
                                      std::array<int64_t, Parts> counts) {
  if (!texts.holds_back()) return counts;
  if (!texts.for_tests(text)) {
    counts.back() = 0;
    return counts;
  }
  std::array<int64_t, Parts> test{};
  test.back() = 1;
  return test;
}

}  // namespace assay::eval::unlearning
