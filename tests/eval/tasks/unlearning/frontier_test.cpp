// Where a method is read: walks chosen on tuning texts, equal measured damage.
#include "eval/tasks/unlearning/frontier.h"

#include <gtest/gtest.h>

#include <cmath>
#include <set>

#include "eval/tasks/unlearning/readings.h"
#include "kernels/base/random.h"

namespace assay::eval::unlearning {
namespace {

/// Asks for settings as a run does.
OperatingPoint read_at(const std::optional<Walk>& walk, const std::vector<double>& damage,
                       double budget, std::set<size_t>* measured = nullptr) {
  Damages known;
  if (walk)
    while (const Setting next = next_to_measure(*walk, known, budget)) known[*next] = damage[*next];
  if (measured)
    for (const auto& [setting, value] : known) measured->insert(setting);
  return operating_point(walk, known, budget);
}

TEST(UnlearningFrontier, AWalkEndsWhereItForgetsMostAndTiesGoToTheWeaker) {
  const Tuning tuning{{0.1, 0.4, 0.4, 0.2}, {0, 0.5, 0.6, 3}, {0, 0, 0, 0}};
  const auto walk = choose_walk({{{0, 1, 2, 3}}}, tuning, 1);
  ASSERT_TRUE(walk);
  EXPECT_EQ(walk->settings, (std::vector<size_t>{0, 1}));
  EXPECT_FALSE(walk->whole);
  EXPECT_TRUE(choose_walk({{{0, 1}}}, tuning, 1)->whole);
  EXPECT_FALSE(choose_walk({{{0, 1}}}, {{-0.1, 0}, {0, 0}, {0, 0}}, 5)) << "nothing forgets";
}

TEST(UnlearningFrontier, TheLineIsTheOneThatForgetsMostWithinTheBudget) {
  // One line forgets more in the end, the other more within a budget of 1.
  const Tuning tuning{{0.2, 0.8, 0.3, 0.5}, {0.5, 8.5, 0.5, 1.5}, {0, 0, 0, 0}};
  const std::vector<Line> lines = {{{0, 1}}, {{2, 3}, true}};
  EXPECT_EQ(choose_walk(lines, tuning, 1)->settings[0], 2);
  EXPECT_TRUE(choose_walk(lines, tuning, 1)->outer);
  EXPECT_EQ(choose_walk(lines, tuning, 8)->settings[0], 0);
  EXPECT_FALSE(choose_walk(lines, tuning, 8)->outer);
}

TEST(UnlearningFrontier, ADamageOnTuningTextsCountsWithItsError) {
  // Both seem free; the first is known to be, of the second only so much is known.
  const std::vector<Line> lines = {{{0}}, {{1}}};
  EXPECT_EQ(choose_walk(lines, {{0.3, 0.4}, {0, 0}, {0.1, 0.1}}, 1)->settings[0], 1);
  EXPECT_EQ(choose_walk(lines, {{0.3, 0.4}, {0, 0}, {0.1, 2}}, 1)->settings[0], 0);
}

TEST(UnlearningFrontier, ThePointIsAtTheBudgetOnTestTexts) {
  const Walk walk{{4, 5, 6}, true};
  const std::vector<double> damage = {9, 9, 9, 9, 0.2, 0.6, 2.6};
  const OperatingPoint point = read_at(walk, damage, 1);
  EXPECT_EQ(point.weaker, 5);
  EXPECT_EQ(point.stronger, 6);
  EXPECT_DOUBLE_EQ(point.share, 0.2);
  EXPECT_DOUBLE_EQ(point.mix(damage[5], damage[6]), 1);
  EXPECT_TRUE(point.reached);
  EXPECT_FALSE(point.edge) << "the budget ends it, not the grid";
}

TEST(UnlearningFrontier, EveryBudgetThatIsReachedIsMet) {
  Rng rng(4);
  for (int trial = 0; trial < 200; ++trial) {
    Walk walk{{}, true};
    std::vector<double> damage;
    for (size_t s = 0; s < 1 + rng.below(6); ++s) {
      walk.settings.push_back(s);
      damage.push_back(4 * rng.uniform() - 0.5);  // need not rise
    }
    const double budget = 2 * rng.uniform();
    const OperatingPoint point = read_at(walk, damage, budget);
    const auto of = [&](Setting setting) { return setting ? damage[*setting] : 0; };
    const double own = point.mix(of(point.weaker), of(point.stronger));
    if (damage.back() <= budget) {
      EXPECT_FALSE(point.reached);
      EXPECT_EQ(point.stronger, damage.size() - 1) << "nothing is extrapolated";
    } else {
      EXPECT_TRUE(point.reached);
      EXPECT_NEAR(own, budget, 1e-12);
      EXPECT_TRUE(point.share >= 0 && point.share <= 1);
      for (size_t s = *point.stronger; s < damage.size(); ++s) EXPECT_GT(damage[s], budget);
    }
  }
}

TEST(UnlearningFrontier, TheFirstSettingIsMixedWithNoEdit) {
  const OperatingPoint point = read_at(Walk{{7}, true}, {0, 0, 0, 0, 0, 0, 0, 4}, 1);
  EXPECT_EQ(point.weaker, std::nullopt);
  EXPECT_EQ(point.stronger, 7);
  EXPECT_DOUBLE_EQ(point.share, 0.25);
  EXPECT_EQ(point.nearer(), std::nullopt);
}

TEST(UnlearningFrontier, AnEndWithinTheBudgetIsKeptAndTheGridsEndIsAnEdge) {
  for (const bool whole : {false, true}) {
    const OperatingPoint point = read_at(Walk{{0, 1}, whole}, {0.1, 0.6}, 1);
    EXPECT_EQ(point.weaker, 1);
    EXPECT_EQ(point.stronger, 1);
    EXPECT_FALSE(point.reached);
    EXPECT_EQ(point.edge, whole);
  }
  EXPECT_TRUE(read_at(Walk{{0, 1}, false, true}, {0.1, 3}, 1).edge) << "an outer line";
}

TEST(UnlearningFrontier, OnlySettingsFromTheEndToTheBudgetAreMeasured) {
  std::set<size_t> measured;
  read_at(Walk{{0, 1, 2, 3, 4}, true}, {0, 0.1, 0.5, 2, 6}, 1, &measured);
  EXPECT_EQ(measured, (std::set<size_t>{2, 3, 4}));
}

TEST(UnlearningFrontier, WithoutAWalkNothingIsEdited) {
  const OperatingPoint point = read_at(std::nullopt, {}, 1);
  EXPECT_FALSE(point.weaker || point.stronger || point.reached || point.edge);
}

/// A run whose readings are given: damages in points and cosines as the thing read.
struct Given {
  explicit Given(std::vector<double> damage, std::vector<double> values) {
    for (size_t c = 0; c < damage.size(); ++c) {
      ClassOutcome own;
      own.scores.retain_accuracy = 0.9 - damage[c] / 100;
      own.scores.retain_cosine = values[c];
      outcomes.push_back(own);
    }
  }
  std::vector<ClassOutcome> outcomes;
};

double read_value(const ClassOutcome& edited, const PanelScores&, const RunOutcome&, size_t) {
  return edited.scores.retain_cosine;
}

TEST(UnlearningFrontier, ClassesOnOneFrontierAgreeAtTheBudgetWhateverTheirDamage) {
  // Every class forgets .1 a point of damage; under one setting their damages differ.
  const std::vector<double> weak = {0.2, 0.4, 0.6}, strong = {2.2, 1.4, 1.8};
  const auto tenth = [](std::vector<double> values) {
    for (double& v : values) v /= 10;
    return values;
  };
  const Given weaker(weak, tenth(weak)), stronger(strong, tenth(strong));
  RunOutcome run;
  run.classes = {"a", "b", "c"};
  run.clean.resize(3);
  for (PanelScores& clean : run.clean) clean.retain_accuracy = 0.9;
  const double share = (1 - 0.4) / (1.8 - 0.4);
  const Mixture at{weaker.outcomes, stronger.outcomes, share, 1.0};
  const auto damages = read_mixture(run, at, read_damage);
  EXPECT_NEAR((damages[0] + damages[1] + damages[2]) / 3, 1, 1e-9);
  EXPECT_GT(std::fabs(damages[0] - damages[1]), 0.1) << "or there is nothing to move";
  for (const double value : read_at_budget(run, at, read_value)) EXPECT_NEAR(value, 0.1, 1e-9);
  const auto plain = read_mixture(run, at, read_value), moved = read_at_budget(run, at, read_value);
  EXPECT_NEAR(plain[0] + plain[1] + plain[2], moved[0] + moved[1] + moved[2], 1e-9);
  const Mixture below{weaker.outcomes, weaker.outcomes};
  EXPECT_EQ(read_at_budget(run, below, read_value), read_mixture(run, below, read_value))
      << "a budget that is not reached moves nothing";
}

TEST(UnlearningFrontier, NeighboursThatHardlyDifferInDamageMoveNoClassFar) {
  // .01 points apart at drops .05 apart: 5 a point, of which half a point makes .1.
  const Given weaker({0.495, 1.495, 0.995}, {0.25, 0.25, 0.25}),
      stronger({0.505, 1.505, 1.005}, {0.3, 0.3, 0.3});
  RunOutcome run;
  run.classes = {"a", "b", "c"};
  run.clean.resize(3);
  for (PanelScores& clean : run.clean) clean.retain_accuracy = 0.9;
  const auto moved =
      read_at_budget(run, {weaker.outcomes, stronger.outcomes, 0.5, 1.0}, read_value);
  EXPECT_NEAR(moved[0], 0.275 + 0.5 * 0.1, 1e-6);
  EXPECT_NEAR(moved[1], 0.275 - 0.5 * 0.1, 1e-6);
  EXPECT_NEAR(moved[2], 0.275, 1e-6);
}

}  // namespace
}  // namespace assay::eval::unlearning
