// What a back end's answer to a case of encode_topk or encode_threshold must be.
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

/// Against canonical scores taken one by one; a row with a score that is not finite, or every row
/// of an encoder that is not finite, is empty and flagged.
inline void expect_threshold(const ThresholdCase& threshold, const SparseCodes& codes,
                             const std::vector<float>& pre, int64_t bad_row) {
  const EncodeCase& c = threshold.encode;
  const auto x = c.x(), w = c.w(), bias = c.bias(), theta = threshold.theta();
  const auto finite = [](float v) { return std::isfinite(v); };
  bool encoder = true;
  for (const auto* values : {&w, &bias, &theta})
    encoder = encoder && std::all_of(values->begin(), values->end(), finite);
  int64_t expected_bad = NumericFlag::kNone;
  SparseCodes expected;
  std::vector<float> expected_pre;
  for (int64_t i = 0; i < c.rows; ++i) {
    const auto scores = reference::scores(x.data() + i * c.d, {w.data(), c.n, c.d}, bias.data());
    const bool good = encoder && std::all_of(scores.begin(), scores.end(), finite);
    if (!good) expected_bad = std::min(expected_bad, i);
    for (int64_t j = 0; good && j < c.n; ++j) {
      const bool active = scores[j] > theta[j];
      if (!active && !(std::abs(scores[j] - theta[j]) < threshold.band / 2)) continue;
      expected.indices.push_back(static_cast<int32_t>(j));
      expected.values.push_back(active ? scores[j] : 0);
      expected_pre.push_back(scores[j]);
    }
    expected.row_offsets.push_back(std::ssize(expected.indices));
  }
  EXPECT_EQ(codes.row_offsets, expected.row_offsets);
  EXPECT_EQ(codes.indices, expected.indices);
  EXPECT_EQ(codes.values, expected.values);
  EXPECT_EQ(pre, expected_pre);
  EXPECT_EQ(bad_row, expected_bad);
}

}  // namespace assay::support
