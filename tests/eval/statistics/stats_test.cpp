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

TEST(BootstrapTest, MeanOfNormalsMatchesTheClosedForm) {
  Rng rng(7);
  std::vector<double> values(400);
  for (double& value : values) value = 3 + 2 * rng.normal();
  double mean = 0, squares = 0;
  for (double value : values) mean += value / 400;
  for (double value : values) squares += (value - mean) * (value - mean);
  const double half = 1.96 * std::sqrt(squares / 400 / 400);
  const Estimate estimate = bootstrap_mean(values, 1, 20000);
  EXPECT_NEAR(estimate.value, mean, 1e-12);
  EXPECT_NEAR(estimate.interval[0], mean - half, .05 * half);
  EXPECT_NEAR(estimate.interval[1], mean + half, .05 * half);
  EXPECT_EQ(estimate.n, 400);
  EXPECT_NEAR(estimate.p, 2.0 / 20001, 1e-12);
}

TEST(BootstrapTest, CoversTheTruth) {
  Rng rng(8);
  int covered = 0, rounds = 400;
  for (int round = 0; round < rounds; ++round) {
    std::vector<double> values(60);
    for (double& value : values) value = 1 + rng.normal();
    const Interval interval = bootstrap_mean(values, static_cast<uint64_t>(round), 500).interval;
    covered += interval[0] <= 1 && 1 <= interval[1];
  }
  EXPECT_NEAR(covered / static_cast<double>(rounds), .95, .035);
}

TEST(BootstrapTest, PIsUniformUnderTheNull) {
  Rng rng(9);
  int rejected = 0, rounds = 600;
  for (int round = 0; round < rounds; ++round) {
    std::vector<double> values(60);
    for (double& value : values) value = rng.normal();
    rejected += bootstrap_mean(values, static_cast<uint64_t>(round), 500).p < .1;
  }
  EXPECT_NEAR(rejected / static_cast<double>(rounds), .1, .045);
}

TEST(BootstrapTest, RatioMatchesTheDeltaMethod) {
  Rng rng(10);
  std::vector<double> top(1000), bottom(1000);
  for (std::size_t i = 0; i < 1000; ++i) {
    bottom[i] = 1 + rng.uniform();
    top[i] = .2 * bottom[i] + .1 * rng.normal();
  }
  double a = 0, b = 0;
  for (std::size_t i = 0; i < 1000; ++i) {
    a += top[i];
    b += bottom[i];
  }
  double squares = 0;
  for (std::size_t i = 0; i < 1000; ++i) squares += std::pow(top[i] - a / b * bottom[i], 2);
  const double half = 1.96 * std::sqrt(squares) / b;
  const Estimate estimate = bootstrap_ratio(top, bottom, 1, 10000);
  EXPECT_NEAR(estimate.value, a / b, 1e-12);
  EXPECT_NEAR(estimate.interval[0], a / b - half, .06 * half);
  EXPECT_NEAR(estimate.interval[1], a / b + half, .06 * half);
}

std::vector<Cell> crossed(int tasks, int dictionaries, int seeds, double task_sd,
                          double dictionary_sd, double noise_sd, uint64_t seed) {
  Rng rng(seed);
  std::vector<Cell> cells;
  std::vector<double> shift(static_cast<std::size_t>(dictionaries));
  for (double& value : shift) value = dictionary_sd * rng.normal();
  for (int t = 0; t < tasks; ++t) {
    const double base = task_sd * rng.normal();
    for (int d = 0; d < dictionaries; ++d) {
      for (int s = 0; s < seeds; ++s) {
        cells.push_back(
            {t, d, s, 1 + base + shift[static_cast<std::size_t>(d)] + noise_sd * rng.normal()});
      }
    }
  }
  return cells;
}

TEST(HierarchicalTest, WithTasksAloneEqualsTheClosedForm) {
  const auto cells = crossed(200, 1, 1, 1, 0, 0, 11);
  double mean = 0, squares = 0;
  for (const Cell& cell : cells) mean += cell.value / 200;
  for (const Cell& cell : cells) squares += (cell.value - mean) * (cell.value - mean);
  const double half = 1.96 * std::sqrt(squares) / 200;
  const Estimate estimate = hierarchical_bootstrap(cells, 1, 20000);
  EXPECT_NEAR(estimate.interval[0], mean - half, .05 * half);
  EXPECT_NEAR(estimate.interval[1], mean + half, .05 * half);
}

TEST(HierarchicalTest, RepeatedSeedsOfATaskAreNotCountedAsTasks) {
  const auto many = crossed(30, 1, 20, 1, 0, 0, 12);
  std::vector<Cell> few;
  std::copy_if(many.begin(), many.end(), std::back_inserter(few),
               [](const Cell& cell) { return cell.seed == 0; });
  const Estimate a = hierarchical_bootstrap(few, 1, 8000),
                 b = hierarchical_bootstrap(many, 1, 8000);
  EXPECT_NEAR(b.interval[1] - b.interval[0], a.interval[1] - a.interval[0], .03);
  std::vector<double> flat;
  for (const Cell& cell : many) flat.push_back(cell.value);
  const Interval naive = bootstrap_mean(flat, 1).interval;
  EXPECT_GT(b.interval[1] - b.interval[0], 3 * (naive[1] - naive[0]));
}

TEST(HierarchicalTest, CoversTheTruthWithCrossedFactors) {
  int covered = 0, rounds = 300;
  for (int round = 0; round < rounds; ++round) {
    const auto cells = crossed(15, 8, 2, .5, .3, .2, static_cast<uint64_t>(1000 + round));
    const Interval interval =
        hierarchical_bootstrap(cells, static_cast<uint64_t>(round), 400).interval;
    covered += interval[0] <= 1 && 1 <= interval[1];
  }
  // Fifteen tasks and eight dictionaries: a percentile interval covers a little less than it says.
  EXPECT_GT(covered / static_cast<double>(rounds), .88);
  EXPECT_LT(covered / static_cast<double>(rounds), .995);
}

TEST(HierarchicalTest, OrderOfTheCellsDoesNotMatter) {
  auto cells = crossed(10, 3, 2, 1, 1, 1, 13);
  const Estimate a = hierarchical_bootstrap(cells, 5);
  std::reverse(cells.begin(), cells.end());
  for (Cell& cell : cells) cell.task *= 100;
  const Estimate b = hierarchical_bootstrap(cells, 5);
  EXPECT_EQ(a.interval, b.interval);
  EXPECT_NE(a.interval, hierarchical_bootstrap(cells, 6).interval);
}

TEST(HierarchicalTest, MissingCellsAreAllowedRepeatedOnesAreNot) {
  std::vector<Cell> cells = crossed(4, 2, 1, 1, 1, 1, 14);
  cells.erase(cells.begin() + 3);
  EXPECT_EQ(hierarchical_bootstrap(cells, 1).n, 7);
  cells.push_back(cells.front());
  EXPECT_THROW(hierarchical_bootstrap(cells, 1), Error);
  EXPECT_THROW(hierarchical_bootstrap({}, 1), Error);
}

TEST(PairedTest, CommonVarianceOfTasksCancels) {
  const auto a = crossed(15, 3, 2, 5, 0, .01, 15);
  auto b = a;
  for (Cell& cell : b) cell.value -= .1;
  const Estimate difference = paired_difference(a, b, 1);
  EXPECT_NEAR(difference.value, .1, 1e-12);
  EXPECT_NEAR(difference.interval[0], .1, 1e-12);
  EXPECT_NEAR(difference.interval[1], .1, 1e-12);
  EXPECT_NEAR(difference.p, 2.0 / (kResamples + 1), 1e-12);
}

TEST(PairedTest, ABaselineWithoutDictionaryPairsWithEach) {
  const auto a = crossed(15, 3, 2, 1, .1, .1, 16);
  std::vector<Cell> b;
  for (const Cell& cell : crossed(15, 1, 2, 1, 0, .1, 16))
    b.push_back({cell.task, kAnyDictionary, cell.seed, cell.value});
  std::vector<Cell> expected;
  for (const Cell& cell : a) {
    const auto partner = std::find_if(b.begin(), b.end(), [&](const Cell& o) {
      return o.task == cell.task && o.seed == cell.seed;
    });
    expected.push_back({cell.task, cell.dictionary, cell.seed, cell.value - partner->value});
  }
  const Estimate direct = hierarchical_bootstrap(expected, 3), paired = paired_difference(a, b, 3);
  EXPECT_EQ(direct.interval, paired.interval);
  const Estimate reversed = paired_difference(b, a, 3);
  EXPECT_NEAR(reversed.value, -paired.value, 1e-12);
  EXPECT_NEAR(reversed.interval[0], -paired.interval[1], 1e-12);
}

TEST(PairedTest, WithoutAPartnerIsAnError) {
  const auto a = crossed(5, 2, 2, 1, 1, 1, 17);
  auto b = a;
  b.pop_back();
  EXPECT_THROW(paired_difference(a, b, 1), Error);
  EXPECT_THROW(paired_difference(b, a, 1), Error);
  b = a;
  b.back().task = 99;
  EXPECT_THROW(paired_difference(a, b, 1), Error);
}

TEST(HolmTest, MatchesAWorkedExample) {
  // R: p.adjust(c(.01, .04, .03, .005), "holm") = .03 .06 .06 .02
  const auto adjusted = holm(std::vector<double>{.01, .04, .03, .005});
  const std::vector<double> expected{.03, .06, .06, .02};
  for (std::size_t i = 0; i < 4; ++i) EXPECT_NEAR(adjusted[i], expected[i], 1e-15);
  EXPECT_EQ(holm(std::vector<double>{.9, .8}), (std::vector<double>{1, 1}));
  EXPECT_THROW(holm(std::vector<double>{1.5}), Error);
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

TEST(GroupDifferenceTest, WidensWithTheReseedSpreadAndIgnoresSharedTasks) {
  // Tasks differ a lot, alike for both groups; dictionaries of a group differ by their seed.
  const auto group = [](double offset, double reseed) {
    std::vector<Cell> cells;
    for (int64_t task = 0; task < 10; ++task)
      for (int64_t dictionary = 0; dictionary < 5; ++dictionary)
        cells.push_back(
            {task, dictionary, 0,
             static_cast<double>(task) + offset + reseed * (static_cast<double>(dictionary) - 2)});
    return cells;
  };
  const Estimate still = group_difference(group(0.5, 0), group(0, 0), 1);
  EXPECT_DOUBLE_EQ(still.value, 0.5);
  EXPECT_NEAR(still.interval[1] - still.interval[0], 0, 1e-9);
  const Estimate loose = group_difference(group(0.5, 1), group(0, 1), 1);
  EXPECT_DOUBLE_EQ(loose.value, 0.5);
  // The bootstrap's variance of a mean of 5: Σ(x − x̄)²/5² = 10/25 each; twice for the difference.
  EXPECT_NEAR(loose.interval[1] - loose.interval[0], 2 * 1.96 * std::sqrt(2 * 10.0 / 25), 0.35);
  EXPECT_THROW(group_difference(group(0, 0), {}, 1), Error);
  std::vector<Cell> other = group(0, 0);
  other.back().task = 99;
  EXPECT_THROW(group_difference(group(0, 0), other, 1), Error);
}

TEST(StudentTest, PublishedQuantiles) {
  EXPECT_DOUBLE_EQ(student_t975(1), 12.706);
  EXPECT_DOUBLE_EQ(student_t975(4), 2.776);
  EXPECT_NEAR(student_t975(40), 2.0211, 1e-4);
  EXPECT_NEAR(student_t975(120), 1.9799, 1e-4);
  EXPECT_THROW(student_t975(0), Error);
}

}  // namespace
}  // namespace assay::eval
