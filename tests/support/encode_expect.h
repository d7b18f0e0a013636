// What a back end's answer to a case of encode_topk must be.
#pragma once

#include <gtest/gtest.h>

#include "kernels/base/numeric_flag.h"
#include "tests/support/kernel_cases.h"

namespace assay::support {

/// Against the canonical winners; a row with a score that is not finite, or every row of an encoder
/// that is not finite, has the documented stand-in. `bad_row` is what the flag holds.
inline void expect_encoded(const EncodeCase& c, const std::vector<int32_t>& indices,
                           const std::vector<float>& values, int64_t bad_row) {
  const auto all_x = c.x(), w = c.w(), bias = c.bias(), scale = c.rank_scale();
  const auto finite = [](float v) { return std::isfinite(v); };
  const bool encoder =
      std::all_of(w.begin(), w.end(), finite) && std::all_of(bias.begin(), bias.end(), finite);
  int64_t expected_bad = NumericFlag::kNone;
  for (int64_t i = 0; i < c.rows; ++i) {
    const float* x = all_x.data() + i * c.d;
    std::vector<reference::Winner> expected(c.k);
    for (int64_t q = 0; q < c.k; ++q) expected[q] = {static_cast<int32_t>(q), 0};
    const auto pre = reference::scores(x, {w.data(), c.n, c.d}, bias.data());
    if (encoder && std::all_of(pre.begin(), pre.end(), finite)) {
      expected = reference::winners(pre, c.k, c.ranked ? scale.data() : nullptr);
    } else {
      expected_bad = std::min(expected_bad, i);
    }
    for (int64_t q = 0; q < c.k; ++q) {
      ASSERT_EQ(indices[i * c.k + q], expected[q].index) << "row " << i << ", pair " << q;
      ASSERT_EQ(values[i * c.k + q], expected[q].value) << "row " << i << ", pair " << q;
    }
  }
  EXPECT_EQ(bad_row, expected_bad);
}

}  // namespace assay::support
