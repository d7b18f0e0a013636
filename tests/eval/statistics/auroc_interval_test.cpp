#include "eval/statistics/auroc_interval.h"

#include <gtest/gtest.h>

#include <cmath>

#include "eval/statistics/stats.h"
#include "eval/statistics/student.h"
#include "kernels/base/error.h"
#include "kernels/base/random.h"

namespace assay::eval {
namespace {

double auroc_of(const ScoreStratum& stratum) {
  std::vector<double> scores;
  std::vector<uint8_t> labels;
  for (const auto& [unit, own] : stratum.positive)
    for (const double score : own) {
      scores.push_back(score);
      labels.push_back(1);
    }
  for (const double score : stratum.negative) {
    scores.push_back(score);
    labels.push_back(0);
  }
  return auroc(scores, labels);
}

/// Goals have levels of their own; a run shifts all its scores; half of the goals a stratum.
struct Planted {
  int64_t goals = 24, runs = 2, negatives = 24;
  double signal = 1, between = 0.7, within = 0.7;

  std::vector<ScoreStratum> draw(Rng& rng) const {
    std::vector<double> level;
    for (int64_t g = 0; g < goals; ++g) level.push_back(signal + between * rng.normal());
    std::vector<ScoreStratum> strata;
    for (int64_t run = 0; run < runs; ++run)
      for (int64_t half = 0; half < 2; ++half) {
        const double shift = 3 * rng.normal();
        ScoreStratum stratum;
        for (int64_t g = half; g < goals; g += 2)
          stratum.positive[g] = {shift + level[static_cast<size_t>(g)] + within * rng.normal()};
        for (int64_t i = half; i < negatives; i += 2)
          stratum.negative.push_back(shift + rng.normal());
        strata.push_back(std::move(stratum));
      }
    return strata;
  }
  double truth() const {
    return 0.5 * std::erfc(-signal / std::sqrt(2 * (1 + between * between + within * within)));
  }
  double coverage(int draws) const {
    Rng rng(11);
    int covered = 0;
    for (int i = 0; i < draws; ++i) {
      const Interval interval = *stratified_auroc(draw(rng)).interval;
      covered += interval[0] <= truth() && truth() <= interval[1];
    }
    return static_cast<double>(covered) / draws;
  }
};

TEST(StratifiedAuroc, IsTheMeanOfTheStrata) {
  Rng rng(1);
  const std::vector<ScoreStratum> strata = Planted{.goals = 9, .negatives = 7}.draw(rng);
  double mean = 0;
  for (const ScoreStratum& stratum : strata) mean += auroc_of(stratum) / 4;
  const StratifiedAuroc found = stratified_auroc(strata);
  EXPECT_NEAR(found.value, mean, 1e-12);
  EXPECT_EQ(found.n, 2 * (9 + 7));
}

/// The paper's variance, by its formula.
TEST(StratifiedAuroc, OneStratumHasTheIntervalOfDeLong) {
  Rng rng(2);
  ScoreStratum stratum;
  for (int64_t i = 0; i < 13; ++i) stratum.positive[i] = {1 + std::round(4 * rng.normal()) / 4};
  for (int64_t i = 0; i < 17; ++i) stratum.negative.push_back(std::round(4 * rng.normal()) / 4);
  double parts[2] = {};  // of positives, of negatives
  const auto add = [&](double& part, const std::vector<double>& components) {
    double mean = 0, sum = 0;
    const auto n = static_cast<double>(components.size());
    for (const double c : components) mean += c / n;
    for (const double c : components) sum += (c - mean) * (c - mean);
    part = sum / (n - 1) / n;
  };
  const auto win = [](double a, double b) { return a > b ? 1 : a == b ? 0.5 : 0; };
  std::vector<double> positive, negative;
  for (const auto& [unit, own] : stratum.positive) {
    positive.push_back(0);
    for (const double other : stratum.negative) positive.back() += win(own[0], other) / 17;
  }
  for (const double other : stratum.negative) {
    negative.push_back(0);
    for (const auto& [unit, own] : stratum.positive) negative.back() += win(own[0], other) / 13;
  }
  add(parts[0], positive);
  add(parts[1], negative);
  const double a = auroc_of(stratum), variance = parts[0] + parts[1];
  const double freedom =
      variance * variance / (parts[0] * parts[0] / 12 + parts[1] * parts[1] / 16);
  const double logit = std::log(a / (1 - a)),
               half = student_quantile(0.975, freedom) * std::sqrt(variance) / (a * (1 - a));
  const Interval interval = *stratified_auroc({&stratum, 1}).interval;
  EXPECT_NEAR(interval[0], 1 / (1 + std::exp(-(logit - half))), 1e-9);
  EXPECT_NEAR(interval[1], 1 / (1 + std::exp(-(logit + half))), 1e-9);
}

TEST(StratifiedAuroc, IntervalsCoverWhatTheySay) {
  for (const double signal : {0.0, 0.9, 1.7}) {
    const double usual = Planted{.signal = signal}.coverage(1000),
                 few = Planted{.goals = 8, .negatives = 8, .signal = signal}.coverage(1000);
    EXPECT_GE(usual, 0.935) << signal;
    EXPECT_LE(usual, 0.98) << signal;
    EXPECT_GE(few, 0.94) << signal << ": few units err to the wide side";
  }
}

/// Were each run's score a unit of its own, intervals over goals that differ would be too narrow.
TEST(StratifiedAuroc, RunsOfOneGoalAreOneUnit) {
  const Planted planted{.runs = 6, .between = 1.5, .within = 0.2};
  EXPECT_GE(planted.coverage(600), 0.93);
  Rng rng(5);
  const std::vector<ScoreStratum> strata = planted.draw(rng);
  std::vector<ScoreStratum> apart = strata;
  int64_t unit = 0;
  for (ScoreStratum& stratum : apart) {
    std::map<int64_t, std::vector<double>> positive;
    for (const auto& [goal, own] : stratum.positive) positive[unit++] = own;
    stratum.positive = positive;
  }
  const Interval together = *stratified_auroc(strata).interval,
                 alone = *stratified_auroc(apart).interval;
  EXPECT_GT(together[1] - together[0], 1.2 * (alone[1] - alone[0]));
}

TEST(StratifiedAuroc, TheEndsHaveAnIntervalAndTooLittleHasNone) {
  ScoreStratum stratum{{{0, {5, 6}}, {1, {7}}, {2, {8}}}, {1, 2, 3, 4, 5}};
  stratum.negative.pop_back();
  const StratifiedAuroc perfect = stratified_auroc({&stratum, 1});
  EXPECT_EQ(perfect.value, 1);
  EXPECT_EQ(*perfect.interval, wilson(3, 3)) << "three goals, four negatives";
  for (double& score : stratum.negative) score += 100;
  EXPECT_EQ(*stratified_auroc({&stratum, 1}).interval, wilson(0, 3));
  stratum = {{{0, {1, 1}}, {1, {1}}}, {1, 1, 1}};
  EXPECT_EQ(stratified_auroc({&stratum, 1}).value, 0.5);
  EXPECT_NEAR((*stratified_auroc({&stratum, 1}).interval)[1], 0.5, 1e-9) << "an arm says nothing";
  stratum = {{{0, {1, 2}}}, {1, 2, 3}};
  EXPECT_FALSE(stratified_auroc({&stratum, 1}).interval.has_value()) << "one goal";
  stratum.negative.clear();
  EXPECT_THROW(stratified_auroc({&stratum, 1}), Error);
  EXPECT_THROW(stratified_auroc({}), Error);
  stratum = {{{0, {1, NAN}}}, {1}};
  EXPECT_THROW(stratified_auroc({&stratum, 1}), Error);
}

}  // namespace
}  // namespace assay::eval
