// Statistics against closed forms, brute force and published values.
#include "eval/statistics/stats.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <iterator>
#include <limits>
#include <set>

#include "kernels/base/error.h"
#include "kernels/base/random.h"

namespace assay::eval {
namespace {

TEST(RngTest, MatchesPublishedSplitmixAndXoshiro) {
  // First outputs of splitmix64 from state 1234567 (Vigna's reference code).
  uint64_t state = 1234567;
  EXPECT_EQ(splitmix64(state), 6457827717110365317ULL);
  EXPECT_EQ(splitmix64(state), 3203168211198807973ULL);
  EXPECT_EQ(splitmix64(state), 9817491932198370423ULL);
}

TEST(RngTest, BoundedDrawsAreUniform) {
  Rng rng(3);
  std::vector<int> counts(7);
  for (int i = 0; i < 70000; ++i) ++counts[rng.below(7)];
  double chi2 = 0;
  for (int count : counts) chi2 += (count - 10000.0) * (count - 10000.0) / 10000.0;
  EXPECT_LT(chi2, 22.5);  // 0.999 quantile with 6 degrees of freedom
  EXPECT_EQ(rng.below(1), 0u);
  // A bound of 3/4 · 2^64 rejects a quarter of the draws: a biased method would favour one half.
  const uint64_t large = 3ULL << 62;
  int low = 0;
  for (int i = 0; i < 40000; ++i) low += rng.below(large) < large / 2;
  EXPECT_NEAR(low, 20000, 400);
}

TEST(RngTest, PermutationsAreUniform) {
  Rng rng(4);
  std::vector<int> counts(6);
  for (int i = 0; i < 60000; ++i) {
    const auto p = rng.permutation(3);
    ++counts[static_cast<std::size_t>(p[0] * 2 + (p[1] > p[2]))];
  }
  for (int count : counts) EXPECT_NEAR(count, 10000, 400);
}

TEST(RngTest, NormalHasUnitMoments) {
  Rng rng(5);
  double sum = 0, squares = 0, fourth = 0;
  const int n = 200000;
  for (int i = 0; i < n; ++i) {
    const double z = rng.normal();
    sum += z;
    squares += z * z;
    fourth += z * z * z * z;
  }
  EXPECT_NEAR(sum / n, 0, .01);
  EXPECT_NEAR(squares / n, 1, .02);
  EXPECT_NEAR(fourth / n, 3, .15);
}

TEST(RngTest, DerivedSeedsDiffer) {
  std::set<uint64_t> seeds;
  for (uint64_t seed = 0; seed < 20; ++seed) {
    for (uint64_t i = 0; i < 20; ++i) {
      for (uint64_t j = 0; j < 20; ++j) seeds.insert(derive_seed(seed, {i, j}));
    }
  }
  EXPECT_EQ(seeds.size(), 8000u);
  EXPECT_NE(derive_seed(1, {0}), derive_seed(1, {0, 0}));
}

TEST(AurocTest, EqualsCountingPairs) {
  Rng rng(6);
  for (int round = 0; round < 50; ++round) {
    std::vector<double> scores;
    std::vector<uint8_t> labels;
    for (int i = 0; i < 60; ++i) {
      scores.push_back(static_cast<double>(rng.below(round % 2 ? 5 : 1000000)));
      labels.push_back(i < 2 ? static_cast<uint8_t>(i) : static_cast<uint8_t>(rng.below(2)));
    }
    double wins = 0, pairs = 0;
    for (std::size_t i = 0; i < 60; ++i) {
      for (std::size_t j = 0; j < 60; ++j) {
        if (!labels[i] || labels[j]) continue;
        wins += scores[i] > scores[j] ? 1 : scores[i] == scores[j] ? .5 : 0;
        pairs += 1;
      }
    }
    EXPECT_NEAR(auroc(scores, labels), wins / pairs, 1e-12);
  }
}

TEST(AurocTest, ConstantScoresAreChanceAndInfinitiesRank) {
  const std::vector<uint8_t> labels{0, 1, 0, 1};
  EXPECT_EQ(auroc(std::vector<double>(4, 2.5), labels), .5);
  const double inf = std::numeric_limits<double>::infinity();
  EXPECT_EQ(auroc(std::vector<double>{-inf, inf, 0, 1}, labels), 1);
  EXPECT_EQ(accuracy(std::vector<double>{-1, 1, 2, 3}, labels), .75);
}

TEST(AurocTest, BadInputIsNamed) {
  const std::vector<uint8_t> ones{1, 1}, both{0, 1}, two{0, 2};
  EXPECT_THROW(auroc(std::vector<double>{1, 2}, ones), Error);
  EXPECT_THROW(auroc(std::vector<double>{1, NAN}, both), Error);
  EXPECT_THROW(auroc(std::vector<double>{1, 2}, two), Error);
  EXPECT_THROW(auroc(std::vector<double>{1}, both), Error);
}

TEST(WilsonTest, SolvesTheScoreEquation) {
  for (auto [successes, n] : {std::pair<int64_t, int64_t>{15, 50}, {1, 7}, {990, 1000}}) {
    const double share = static_cast<double>(successes) / static_cast<double>(n);
    for (double bound : wilson(successes, n)) {
      EXPECT_NEAR(std::abs(share - bound) / std::sqrt(bound * (1 - bound) / static_cast<double>(n)),
                  1.959963984540054, 1e-9);
    }
  }
  EXPECT_EQ(wilson(0, 10)[0], 0);
  EXPECT_NEAR(wilson(0, 10)[1], .27753, 1e-5);
  EXPECT_EQ(wilson(10, 10)[1], 1);
  EXPECT_THROW(wilson(3, 2), Error);
}

TEST(QuantileTest, InterpolatesLinearly) {
  EXPECT_DOUBLE_EQ(quantile({4, 1, 3, 2}, .5), 2.5);
  EXPECT_DOUBLE_EQ(quantile({4, 1, 3, 2}, .1), 1.3);
  EXPECT_DOUBLE_EQ(quantile({5}, .975), 5);
  EXPECT_THROW(quantile({}, .5), Error);
}

}  // namespace
}  // namespace assay::eval
