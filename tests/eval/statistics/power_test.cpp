// What an evaluation is said to tell apart, against samples of the variances it is said of.
#include "eval/statistics/power.h"

#include <gtest/gtest.h>

#include <cmath>

#include "tests/eval/statistics/crossed_cells.h"

namespace assay::eval {
namespace {

constexpr Spread kSpread{.units = .04, .runs = .001, .cells = .09};

TEST(Spread, ComponentsOfATableByHand) {
  const std::vector<Cell> cells{{0, 0, .5}, {0, 1, .5}, {1, 0, 1.5}, {1, 1, 3.5}};
  // mean 1.5; unit means .5, 2.5 (ms 4); run means 1, 2 (ms 1); residuals ±.5 (ms 1)
  const Spread spread = *spread_of(cells);
  EXPECT_DOUBLE_EQ(spread.cells, 1);
  EXPECT_DOUBLE_EQ(spread.units, 1.5);
  EXPECT_DOUBLE_EQ(spread.runs, 0);
}

TEST(Spread, IsUnbiased) {
  const test::Design design{"", 9, 5, .5, .3, .4};
  Rng rng(2);
  Spread mean;
  constexpr int kRounds = 4000;
  for (int round = 0; round < kRounds; ++round) {
    const Spread one = *spread_of(test::crossed_cells(design, 7, rng));
    mean.units += one.units / kRounds;
    mean.runs += one.runs / kRounds;
    mean.cells += one.cells / kRounds;
  }
  EXPECT_NEAR(mean.units, .25, .01);
  EXPECT_NEAR(mean.runs, .09, .005);
  EXPECT_NEAR(mean.cells, .16, .003);
}

TEST(Spread, OneRunHoldsAllInUnits) {
  const Spread spread = *spread_of(std::vector<Cell>{{4, 0, 1}, {7, 0, 3}, {9, 0, 2}});
  EXPECT_DOUBLE_EQ(spread.units, 1);
  EXPECT_EQ(spread.cells, 0);
}

TEST(Spread, WhereCellsAreMissingUnitsHoldAll) {
  const Spread spread = *spread_of(std::vector<Cell>{{0, 0, 1}, {0, 1, 3}, {1, 0, 6}});
  EXPECT_DOUBLE_EQ(spread.units, 8) << "of the means 2 and 6";
  EXPECT_EQ(spread.runs + spread.cells, 0);
}

TEST(Spread, OneUnitHasNone) {
  EXPECT_FALSE(spread_of({}));
  EXPECT_FALSE(spread_of(std::vector<Cell>{{0, 0, 1}, {0, 1, 2}}));
}

TEST(Power, FourOfFiveSamplesTellWhatIsSaid) {
  const test::Design design{"", 12, 4, .2, std::sqrt(.001), .3};
  for (const double alpha : {.05, .005}) {
    const double difference = *detectable(kSpread, 12, 4, alpha);
    Rng rng(1);
    int told = 0;
    for (int round = 0; round < 3000; ++round)
      told += mean_of_cells(test::crossed_cells(design, difference, rng)).p < alpha;
    EXPECT_NEAR(told / 3000., .8, .03) << alpha;
  }
}

TEST(Power, DegreesOfFreedomAreSatterthwaites) {
  // Over 8 units and 4 runs the mean squares are to be 3/64 of units and of runs and 1/64 of cells:
  // 3 + 3 − 1 = 5, with 5² / (3²/7 + 3²/3 + 1²/21) = 75/13 degrees of freedom.
  EXPECT_NEAR(*detectable({.units = .25, .runs = .125, .cells = .5}, 8, 4),
              detectable(std::sqrt(5. / 64), 75. / 13), 1e-12);
}

TEST(Power, TheUnitsNeededAreTheFewest) {
  const int64_t units = *units_needed(kSpread, 4, .1);
  EXPECT_LE(*detectable(kSpread, units, 4), .1);
  EXPECT_GT(*detectable(kSpread, units - 1, 4), .1);
  EXPECT_GT(*units_needed(kSpread, 4, .1, .005), units);
  EXPECT_EQ(units_needed(kSpread, 4, 10), kUnitsToTell) << "fewer units tell nothing";
  EXPECT_FALSE(units_needed(kSpread, 4, .02)) << "the runs alone vary by more";
  EXPECT_FALSE(detectable(kSpread, 1, 4));
  EXPECT_FALSE(detectable(kSpread, 8, 0));
}

TEST(Power, OneOrTwoRunsDoNotHoldTheirVariance) {
  Spread other = kSpread;
  other.runs = 5;
  EXPECT_EQ(*detectable(kSpread, 12, 2), *detectable(other, 12, 2));
  EXPECT_LT(*detectable(kSpread, 12, 3), *detectable(other, 12, 3));
}

}  // namespace
}  // namespace assay::eval
