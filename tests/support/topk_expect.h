// What a back end's answer to a case of topk must be.
#pragma once

#include <gtest/gtest.h>

#include "tests/support/kernel_cases.h"

namespace assay::support {

/// Against the naive reference; a row with a NaN has its documented stand-in. `bad_row` is what the
/// flag holds.
inline void expect_topk(const TopkCase& c, TopkOrder order, const std::vector<int32_t>& indices,
                        const std::vector<float>& values, int64_t bad_row) {
  const std::vector<float> z = c.z();
  int64_t expected_bad = NumericFlag::kNone;
  for (int64_t i = 0; i < c.rows; ++i) {
    const float* row = z.data() + i * c.n;
    const bool bad = std::any_of(row, row + c.n, [](float v) { return std::isnan(v); });
    if (bad) expected_bad = std::min(expected_bad, i);
    std::vector<reference::Winner> expected(c.k);
    for (int64_t p = 0; p < c.k; ++p) expected[p] = {static_cast<int32_t>(p), 0};
    if (!bad) expected = reference::topk_row(row, c.n, c.k);
    if (!bad && order == TopkOrder::index) {
      std::sort(expected.begin(), expected.end(),
                [](const auto& a, const auto& b) { return a.index < b.index; });
    }
    for (int64_t p = 0; p < c.k; ++p) {
      ASSERT_EQ(indices[i * c.k + p], expected[p].index) << "row " << i << ", pair " << p;
      ASSERT_EQ(values[i * c.k + p], expected[p].value) << "row " << i << ", pair " << p;
    }
  }
  EXPECT_EQ(bad_row, expected_bad);
}

}  // namespace assay::support
