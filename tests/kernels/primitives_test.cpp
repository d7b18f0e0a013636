#include "kernels/primitives.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>

#include "kernels/base/dtype.h"
#include "tests/support/isa.h"
#include "tests/support/reference.h"

namespace assay {
namespace {

using reference::normal;

// Every length around the vector widths, and some real ones.
const int64_t kLengths[] = {0, 1, 2, 7, 8, 9, 15, 16, 17, 31, 32, 33, 47, 100, 384, 385, 768, 2304};

class PrimitivesTest : public testing::TestWithParam<Isa> {
 protected:
  const Primitives& p_ = primitives(GetParam());
};

TEST_P(PrimitivesTest, DotHasTheCanonicalBits) {
  for (const int64_t n : kLengths) {
    const auto a = normal(n, 1), b = normal(n, 2);
    EXPECT_EQ(p_.dot(a.data(), b.data(), n), reference::canonical_dot(a.data(), b.data(), n)) << n;
  }
}

TEST_P(PrimitivesTest, DotDoesNotReadPastTheEnd) {
  const auto a = normal(64, 3);
  std::vector<float> poisoned = a;
  for (size_t i = 37; i < poisoned.size(); ++i)
    poisoned[i] = std::numeric_limits<float>::quiet_NaN();
  EXPECT_EQ(p_.dot(poisoned.data(), a.data(), 37), p_.dot(a.data(), a.data(), 37));
}

TEST_P(PrimitivesTest, AxpyScaleSubtractMatchElementByElement) {
  for (const int64_t n : kLengths) {
    const auto x = normal(n, 4), y = normal(n, 5);
    std::vector<float> sum = y, scaled = y, difference(n);
    p_.axpy(0.37f, x.data(), sum.data(), n);
    p_.scale(1.7f, scaled.data(), n);
    p_.subtract(x.data(), y.data(), difference.data(), n);
    for (int64_t i = 0; i < n; ++i) {
      EXPECT_EQ(sum[i], std::fma(0.37f, x[i], y[i]));
      EXPECT_EQ(scaled[i], 1.7f * y[i]);
      EXPECT_EQ(difference[i], x[i] - y[i]);
    }
  }
}

TEST_P(PrimitivesTest, AdamMatchesTheFormulaInDouble) {
  constexpr int64_t kCount = 37;
  std::vector<float> p = normal(kCount, 6), m(kCount), v(kCount);
  std::vector<double> dp(p.begin(), p.end()), dm(kCount), dv(kCount);
  for (int t = 1; t <= 20; ++t) {
    const auto g = normal(kCount, 100 + t, 1e-3f);
    const double c1 = 1 - std::pow(0.9, t), c2 = 1 - std::pow(0.999, t);
    const AdamStep step{static_cast<float>(1e-2 / c1), 0.9f, 0.999f, 1e-8f,
                        static_cast<float>(1 / c2)};
    p_.adam(step, g.data(), p.data(), m.data(), v.data(), kCount);
    for (int64_t i = 0; i < kCount; ++i) {
      reference::adam(step, g[i], dp[i], dm[i], dv[i]);
      EXPECT_NEAR(p[i], dp[i], 2e-6 * (1 + std::abs(dp[i]))) << "step " << t;
    }
  }
}

TEST_P(PrimitivesTest, AdamHasTheScalarBits) {
  for (const int64_t n : kLengths) {
    const auto g = normal(n, 7, 1e-4f);
    std::vector<float> p1 = normal(n, 8), m1 = normal(n, 9, 1e-4f), v1 = normal(n, 10, 1e-4f);
    for (float& x : v1) x = std::abs(x);
    auto p2 = p1, m2 = m1, v2 = v1;
    const AdamStep step{3e-4f, 0.9f, 0.999f, 6.25e-10f, 1.3f};
    p_.adam(step, g.data(), p1.data(), m1.data(), v1.data(), n);
    kScalarPrimitives.adam(step, g.data(), p2.data(), m2.data(), v2.data(), n);
    EXPECT_EQ(p1, p2);
    EXPECT_EQ(m1, m2);
    EXPECT_EQ(v1, v2);
  }
}

TEST_P(PrimitivesTest, FourDotsAreFourTimesOne) {
  for (const int64_t n : kLengths) {
    const auto a = normal(n, 21), b = normal(4 * n, 22);
    const float* rows[4] = {b.data(), b.data() + n, b.data() + 2 * n, b.data() + 3 * n};
    float out[4];
    p_.dot4(a.data(), rows, n, out);
    for (int r = 0; r < 4; ++r)
      EXPECT_EQ(out[r], reference::canonical_dot(a.data(), rows[r], n)) << n;
  }
}

TEST_P(PrimitivesTest, RangeIsTheLeastAndTheLargest) {
  for (const int64_t n : kLengths) {
    if (n == 0) continue;
    const auto values = normal(n, 23);
    float least, most;
    p_.range(values.data(), n, &least, &most);
    EXPECT_EQ(least, *std::min_element(values.begin(), values.end()));
    EXPECT_EQ(most, *std::max_element(values.begin(), values.end()));
  }
}

uint32_t pair_of(float low, float high) {
  return to_bf16(low).bits | static_cast<uint32_t>(to_bf16(high).bits) << 16;
}

float half(uint32_t bits, int which) {
  return std::bit_cast<float>(which ? bits & 0xffff0000u : bits << 16);
}

TEST_P(PrimitivesTest, ScreenMultipliesRoundedPairsAndCompares) {
  const Screen& screen = p_.screen;
  for (const int64_t pairs : {1, 2, 16, 21, 192}) {
    const auto values = normal(2 * pairs * (screen.rows + 32), 11);
    std::vector<uint32_t> x(pairs * screen.rows), w(2 * pairs * kScreenBlock),
        panel(screen.panel_size(pairs));
    size_t next = 0;
    for (auto* part : {&x, &w}) {
      for (uint32_t& v : *part) v = pair_of(values[next], values[next + 1]), next += 2;
    }
    for (int64_t r = 0; r < screen.rows; ++r)
      screen.pack(x.data() + r * pairs, pairs, r, panel.data());
    const auto scale = normal(32, 12), threshold = normal(screen.rows, 14, 3);
    auto bias = normal(32, 13);
    bias[9] = -std::numeric_limits<float>::infinity();
    bias[11] = std::numeric_limits<float>::quiet_NaN();
    std::vector<float> scores(screen.rows * 32);
    std::vector<uint32_t> hits(screen.rows);
    screen.product(panel.data(), w.data(), w.data() + pairs * kScreenBlock, pairs, scale.data(),
                   bias.data(), threshold.data(), scores.data(), hits.data());
    for (int64_t r = 0; r < screen.rows; ++r) {
      for (int64_t j = 0; j < 32; ++j) {
        double sum = 0;
        for (int64_t p = 0; p < pairs; ++p) {
          const uint32_t a = x[r * pairs + p], b = w[(j / 16) * pairs * 16 + p * 16 + j % 16];
          sum += static_cast<double>(half(a, 0)) * half(b, 0) +
                 static_cast<double>(half(a, 1)) * half(b, 1);
        }
        const double score = sum * scale[j] + bias[j];
        const bool hit = (hits[r] >> j & 1) != 0;
        if (j == 9 || j == 11) {
          EXPECT_FALSE(hit);
        } else if (std::abs(score - threshold[r]) > 1e-3) {
          EXPECT_EQ(hit, score > threshold[r]) << r << "," << j;
        }
        if (hits[r] != 0 && j != 9 && j != 11) {
          EXPECT_NEAR(scores[r * 32 + j], score, 1e-3) << r << "," << j;
        }
      }
    }
  }
}

TEST_P(PrimitivesTest, AppendListsTheHitsInOrder) {
  const auto scores = normal(32, 12);
  for (const uint32_t hits : {0u, 1u, 0x80000000u, 0x00018001u, 0xffffffffu, 0x5a00f00du}) {
    std::vector<int32_t> indices(32, -1), expected_indices;
    std::vector<float> kept(32), expected;
    for (int j = 0; j < 32; ++j) {
      if ((hits >> j & 1) == 0) continue;
      expected_indices.push_back(1000 + j);
      expected.push_back(scores[j]);
    }
    const int count = p_.append(scores.data(), hits, 1000, indices.data(), kept.data());
    ASSERT_EQ(count, static_cast<int>(expected.size()));
    indices.resize(count);
    kept.resize(count);
    EXPECT_EQ(indices, expected_indices);
    EXPECT_EQ(kept, expected);
  }
}

TEST_P(PrimitivesTest, ManyAxpysHaveTheBitsOfOneAfterAnother) {
  for (const int64_t n : kLengths) {
    for (const int64_t count : {0, 1, 4, 9}) {
      const auto x = normal(count * n, 31), y = normal(n, 32), alpha = normal(count, 33);
      std::vector<const float*> rows(count);
      for (int64_t r = 0; r < count; ++r) rows[r] = x.data() + r * n;
      auto found = y, expected = y;
      p_.axpys(alpha.data(), rows.data(), count, found.data(), n);
      for (int64_t r = 0; r < count; ++r) {
        for (int64_t i = 0; i < n; ++i) expected[i] = std::fma(alpha[r], rows[r][i], expected[i]);
      }
      EXPECT_EQ(found, expected) << n;
    }
  }
}

TEST_P(PrimitivesTest, CountMatchesThePredicate) {
  for (const int64_t n : kLengths) {
    auto values = normal(n, 14);
    if (n > 9) values[9] = std::numeric_limits<float>::quiet_NaN();
    for (const float bar : {-10.0f, -0.5f, 0.0f, 0.7f, 10.0f})
      EXPECT_EQ(p_.count_at_least(values.data(), n, bar),
                std::count_if(values.begin(), values.end(), [&](float v) { return v >= bar; }));
  }
}

INSTANTIATE_TEST_SUITE_P(Isa, PrimitivesTest, testing::ValuesIn(support::available_isas()),
                         support::isa_name);

}  // namespace
}  // namespace assay
