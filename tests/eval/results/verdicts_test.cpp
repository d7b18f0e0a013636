// Verdicts and controls over whole results files, by simulation.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <utility>
#include <vector>

#include "eval/results/compare.h"
#include "kernels/base/random.h"
#include "tests/eval/results/close_arms.h"

namespace assay::eval {
namespace {

using test::close_arms;
using test::trained_entry;
using testing::HasSubstr;

struct TypeOne {
  double at_05 = 0, at_005 = 0, were_they_fixed = 0;
};

/// Shares of evaluations whose difference has p below .05 and below .005, though the best arm of
/// the dictionary is as good as the best baseline.
TypeOne type_one(double lead, int rounds) {
  Rng rng(1);
  TypeOne share;
  for (int round = 0; round < rounds; ++round) {
    const Results results = close_arms({trained_entry("mine")}, 0, lead, rng);
    const double p = compare(results).tables.at(0).cards.at(0).beside->difference.p;
    share.at_05 += (p < .05) / static_cast<double>(rounds);
    share.at_005 += (p < .005) / static_cast<double>(rounds);
    share.were_they_fixed += (test::p_without_choice(results) < .05) / static_cast<double>(rounds);
  }
  return share;
}

TEST(Verdicts, ArmsThatAreCloseAreNotToldApartTooOften) {
  for (const double lead : {0.0, .01, .02}) {
    const TypeOne share = type_one(lead, 500);
    EXPECT_LE(share.at_05, .065) << lead;
    EXPECT_LE(share.at_005, .010) << lead;
    EXPECT_GT(share.were_they_fixed, .08) << lead << ": the choice is why";
  }
}

TEST(Verdicts, WhereTheChoiceIsClearItCostsNothing) {
  const TypeOne share = type_one(.2, 2000);
  EXPECT_GE(share.at_05, .035);
  EXPECT_LE(share.at_05, .065);
  EXPECT_GE(share.at_005, .0025);
  EXPECT_LE(share.at_005, .010);
}

TEST(Verdicts, AControlThatLeadsMakesTheTableGoodForNothing) {
  Rng rng(2);
  DictionaryEntry control = trained_entry("mine:random");
  control.null_kind = "random";
  control.parent = "mine";
  const std::vector<DictionaryEntry> both{trained_entry("mine"), control};
  const Comparison fair = compare(close_arms(both, 0, 0, rng));
  EXPECT_THAT(fair.tables.at(0).leading_controls, testing::IsEmpty());
  const Comparison flawed = compare(close_arms(both, .1, 0, rng));
  EXPECT_THAT(flawed.tables.at(0).leading_controls, testing::ElementsAre("mine:random"));
  EXPECT_FALSE(flawed.panel.at(0).passed);
  EXPECT_THAT(flawed.panel[0].use, HasSubstr("a control that learnt nothing, mine:random, leads"));
  EXPECT_FALSE(flawed.tables[0].cards.at(1).beside) << "a control gets no verdict of its own";
}

TEST(Verdicts, WhatIsDetectableGrowsWithTheFamily) {
  Rng rng(3);
  Results results = close_arms({trained_entry("mine")}, 0, 0, rng);
  const Card alone = compare(results).tables.at(0).cards.at(0);
  const Estimate& e = alone.beside->difference;
  EXPECT_DOUBLE_EQ(*alone.detectable, detectable(e.standard_error, e.df));
  TaskResult other = results.tasks[0];
  other.name = "another";
  results.tasks.push_back(other);
  const Card among = compare(results).tables.at(0).cards.at(0);
  EXPECT_DOUBLE_EQ(*among.detectable, detectable(e.standard_error, e.df, kAlpha / 2));
  EXPECT_GT(*among.detectable, *alone.detectable);
}

}  // namespace
}  // namespace assay::eval
