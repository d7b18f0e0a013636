// Intervals and tests against closed forms written out here, and by simulation.
#include "eval/statistics/inference.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "eval/statistics/student.h"
#include "kernels/base/error.h"
#include "kernels/base/random.h"
#include "tests/eval/statistics/crossed_cells.h"

namespace assay::eval {
namespace {

using test::crossed_cells;
using test::Design;

double mean(const std::vector<double>& values) {
  return std::accumulate(values.begin(), values.end(), 0.0) / static_cast<double>(values.size());
}

double variance(const std::vector<double>& values) {
  double squares = 0;
  for (const double value : values) squares += std::pow(value - mean(values), 2);
  return squares / static_cast<double>(values.size() - 1);
}

void expect_t(const Estimate& estimate, double value, double squared_error, double df) {
  EXPECT_NEAR(estimate.value, value, 1e-12);
  EXPECT_NEAR(estimate.standard_error, std::sqrt(squared_error), 1e-12);
  EXPECT_NEAR(estimate.df, df, 1e-9 * df);
  const double half = student_quantile(.975, df) * std::sqrt(squared_error);
  ASSERT_TRUE(estimate.interval);
  EXPECT_NEAR((*estimate.interval)[0], value - half, 1e-9);
  EXPECT_NEAR((*estimate.interval)[1], value + half, 1e-9);
  EXPECT_NEAR(estimate.p, student_two_sided(value / std::sqrt(squared_error), df), 1e-9);
}

TEST(MeanTest, IsTheOneSampleT) {
  const std::vector<double> values{.3, 1.1, -.2, .7, .4};
  const Estimate estimate = mean_of(values);
  expect_t(estimate, mean(values), variance(values) / 5, 4);
  EXPECT_EQ(estimate.n, 5);
}

TEST(MeanTest, OfOneValueHasNoInterval) {
  const Estimate estimate = mean_of(std::vector<double>{3});
  EXPECT_EQ(estimate.value, 3);
  EXPECT_FALSE(estimate.interval);
  EXPECT_EQ(estimate.p, 1);
  EXPECT_THROW(mean_of({}), Error);
  EXPECT_THROW(mean_of(std::vector<double>{1, std::nan("")}), Error);
}

TEST(MeanTest, EqualValuesAreCertain) {
  EXPECT_EQ(mean_of(std::vector<double>{0, 0, 0}).p, 1);
  EXPECT_EQ(mean_of(std::vector<double>{.5, .5, .5}).p, 0);
}

TEST(RatioTest, MatchesTheDeltaMethod) {
  Rng rng(10);
  std::vector<double> top(40), bottom(40);
  for (size_t i = 0; i < 40; ++i) {
    bottom[i] = 1 + rng.uniform();
    top[i] = .2 * bottom[i] + .1 * rng.normal();
  }
  // Jackknife, which agrees with the linearisation to second order: written out independently.
  const double all_top = mean(top), all_bottom = mean(bottom), ratio = all_top / all_bottom;
  std::vector<double> left_out;
  for (size_t i = 0; i < 40; ++i)
    left_out.push_back((40 * all_top - top[i]) / (40 * all_bottom - bottom[i]));
  const double jackknife = 39. / 40 * 39 * variance(left_out);
  const Estimate estimate = ratio_of(top, bottom);
  EXPECT_NEAR(estimate.value, ratio, 1e-12);
  EXPECT_NEAR(estimate.standard_error, std::sqrt(jackknife), .02 * std::sqrt(jackknife));
  EXPECT_EQ(estimate.df, 39);
  EXPECT_THROW(ratio_of(top, std::vector<double>(40, 0)), Error);
  EXPECT_THROW(ratio_of(top, std::vector<double>(39, 1)), Error);
}

/// Mean squares of the two-way layout with a cell for each unit and run.
struct MeanSquares {
  double units, runs, cells, mean;

  MeanSquares(const std::vector<Cell>& all, int64_t u_count, int64_t r_count) {
    const auto u = static_cast<size_t>(u_count), r = static_cast<size_t>(r_count);
    std::vector<double> by_unit(u), by_run(r), values;
    for (const Cell& cell : all) {
      by_unit[static_cast<size_t>(cell.unit)] += cell.value / static_cast<double>(r);
      by_run[static_cast<size_t>(cell.run)] += cell.value / static_cast<double>(u);
      values.push_back(cell.value);
    }
    mean = eval::mean(values);
    units = static_cast<double>(r) * variance(by_unit);
    runs = static_cast<double>(u) * variance(by_run);
    cells = 0;
    for (const Cell& cell : all)
      cells += std::pow(cell.value - by_unit[static_cast<size_t>(cell.unit)] -
                            by_run[static_cast<size_t>(cell.run)] + mean,
                        2);
    cells /= static_cast<double>((u - 1) * (r - 1));
  }
};

TEST(CellsTest, RunsThatVaryWidenTheIntervalAsInTheAnalysisOfVariance) {
  Rng rng(11);
  const Design design{"", 9, 5, .3, .5, .2};
  const auto cells = crossed_cells(design, 1, rng);
  const MeanSquares s(cells, 9, 5);
  ASSERT_GT(s.runs, s.cells);
  const double sum = s.units + s.runs - s.cells;
  const double df =
      sum * sum / (s.units * s.units / 8 + s.runs * s.runs / 4 + s.cells * s.cells / 32);
  expect_t(mean_of_cells(cells), s.mean, sum / 45, std::max(df, 4.));
}

TEST(CellsTest, RunsThatDoNotVaryLeaveTheUnitsAlone) {
  std::vector<Cell> cells;
  std::vector<double> units;
  for (int64_t u = 0; u < 8; ++u) {
    const double base = std::sin(static_cast<double>(u));
    // The runs' means are all alike; cells are not.
    for (int64_t r = 0; r < 4; ++r) cells.push_back({u, r, base + ((u + r) % 2 == 0 ? .1 : -.1)});
    units.push_back(base);
  }
  expect_t(mean_of_cells(cells), mean(units), variance(units) / 8, 7);
}

TEST(CellsTest, OneOrTwoRunsSayNothingOfRuns) {
  Rng rng(12);
  for (const int64_t runs : {int64_t{1}, int64_t{2}}) {
    const Design design{"", 10, runs, .2, 5, .1};
    const auto cells = crossed_cells(design, 0, rng);
    std::vector<double> units(10);
    for (const Cell& cell : cells)
      units[static_cast<size_t>(cell.unit)] += cell.value / static_cast<double>(runs);
    expect_t(mean_of_cells(cells), mean(units), variance(units) / 10, 9);
  }
}

TEST(CellsTest, OrderAndNamesOfTheCellsDoNotMatter) {
  Rng rng(13);
  auto cells = crossed_cells({"", 10, 3, 1, 1, 1}, 0, rng);
  const Estimate a = mean_of_cells(cells);
  std::reverse(cells.begin(), cells.end());
  for (Cell& cell : cells) cell.unit *= 100;
  const Estimate b = mean_of_cells(cells);
  EXPECT_EQ(a.value, b.value);
  EXPECT_EQ(*a.interval, *b.interval);
  EXPECT_EQ(a.p, b.p);
}

TEST(CellsTest, MissingCellsAreAllowedRepeatedOnesAreNot) {
  Rng rng(14);
  std::vector<Cell> cells = crossed_cells({"", 8, 4, .5, 0, .5}, 0, rng);
  const Estimate whole = mean_of_cells(cells);
  std::erase_if(cells, [](const Cell& cell) { return cell.unit == 3 && cell.run != 0; });
  const Estimate some = mean_of_cells(cells);
  EXPECT_EQ(some.n, 29);
  EXPECT_NEAR(some.standard_error, whole.standard_error, .5 * whole.standard_error);
  // A unit with one cell counts as one unit: its residual enters once.
  double average = 0, squares = 0;
  std::vector<double> sums(8), counts(8);
  for (const Cell& cell : cells) average += cell.value / 29;
  for (const Cell& cell : cells) sums[static_cast<size_t>(cell.unit)] += cell.value - average;
  for (const double sum : sums) squares += sum * sum;
  EXPECT_GE(some.standard_error + 1e-12, std::sqrt(8. / 7 * squares / (29 * 29)));
  cells.push_back(cells.front());
  EXPECT_THROW(mean_of_cells(cells), Error);
  EXPECT_THROW(mean_of_cells({}), Error);
  cells.back() = {99, 0, std::numeric_limits<double>::infinity()};
  EXPECT_THROW(mean_of_cells(cells), Error);
}

TEST(CellsTest, OneUnitHasNoIntervalHoweverManyRuns) {
  const Estimate estimate = mean_of_cells(std::vector<Cell>{{0, 0, 1}, {0, 1, 2}, {0, 2, 3}});
  EXPECT_EQ(estimate.value, 2);
  EXPECT_FALSE(estimate.interval);
  EXPECT_EQ(estimate.p, 1);
}

TEST(PairedTest, IsTheMeanOfTheDifferences) {
  Rng rng(15);
  const auto a = crossed_cells({"", 12, 4, 5, .5, .1}, 1, rng),
             b = crossed_cells({"", 12, 4, 5, .5, .1}, 0, rng);
  std::vector<Cell> difference = a;
  for (size_t i = 0; i < a.size(); ++i) difference[i].value -= b[i].value;
  const Estimate direct = mean_of_cells(difference), paired = paired_difference(a, b),
                 reversed = paired_difference(b, a);
  EXPECT_EQ(direct.value, paired.value);
  EXPECT_EQ(*direct.interval, *paired.interval);
  EXPECT_NEAR(reversed.value, -paired.value, 1e-12);
  EXPECT_NEAR((*reversed.interval)[0], -(*paired.interval)[1], 1e-12);
}

TEST(PairedTest, WithoutAPartnerIsAnError) {
  Rng rng(17);
  const auto a = crossed_cells({"", 5, 2, 1, 1, 1}, 0, rng);
  auto b = a;
  b.pop_back();
  EXPECT_THROW(paired_difference(a, b), Error);
  EXPECT_THROW(paired_difference(b, a), Error);
}

using Members = std::vector<std::vector<Cell>>;

/// Units differ a lot, alike for all members; members differ by their seed.
Members members(double offset, std::vector<double> reseeds) {
  Members group;
  for (const double reseed : reseeds) {
    group.emplace_back();
    for (int64_t unit = 0; unit < 10; ++unit)
      group.back().push_back({unit, 0, static_cast<double>(unit) + offset + reseed});
  }
  return group;
}

TEST(GroupTest, TheSpreadOfMembersIsPooled) {
  const Members a = members(.5, {-1, 0, 1}), b = members(0, {-2, 0, 2, 0});
  // Sums of squares 2 and 8 over 2 + 3 degrees of freedom; the units' differences are all alike.
  expect_t(group_difference(a, b), .5, 10. / 5 * (1. / 3 + 1. / 4), 5);
}

TEST(GroupTest, OneMemberEachIsThePairedDifference) {
  Rng rng(18);
  const Members a{crossed_cells({"", 9, 4, 1, .1, .3}, 1, rng)},
      b{crossed_cells({"", 9, 4, 1, .1, .3}, 0, rng)};
  const Estimate pair = paired_difference(a[0], b[0]), group = group_difference(a, b);
  EXPECT_EQ(pair.value, group.value);
  EXPECT_EQ(*pair.interval, *group.interval);
}

TEST(GroupTest, EveryMemberHasMetTheSameCells) {
  Members a = members(0, {0, 1});
  EXPECT_THROW(group_difference(a, Members{}), Error);
  const Members b = a;
  a[1].back().unit = 99;
  EXPECT_THROW(group_difference(a, b), Error);
  EXPECT_THROW(group_difference(b, a), Error);
}

TEST(DetectableTest, IsFoundInFourOfFiveSamples) {
  Rng rng(19);
  const double wanted = detectable(1 / std::sqrt(20.), 19);
  int found = 0;
  for (int round = 0; round < 4000; ++round) {
    std::vector<double> values(20);
    for (double& value : values) value = wanted + rng.normal();
    found += mean_of(values).p < .05;
  }
  EXPECT_NEAR(found / 4000., .8, .025);
}

TEST(HolmTest, MatchesAWorkedExample) {
  // R: p.adjust(c(.01, .04, .03, .005), "holm") = .03 .06 .06 .02
  const auto adjusted = holm(std::vector<double>{.01, .04, .03, .005});
  const std::vector<double> expected{.03, .06, .06, .02};
  for (size_t i = 0; i < 4; ++i) EXPECT_NEAR(adjusted[i], expected[i], 1e-15);
  EXPECT_EQ(holm(std::vector<double>{.9, .8}), (std::vector<double>{1, 1}));
  EXPECT_THROW(holm(std::vector<double>{1.5}), Error);
}

/// The bounds that every design of the published tables must keep; build/inference_calibration
/// simulates them longer.
class CalibrationTest : public testing::TestWithParam<Design> {};

TEST_P(CalibrationTest, TypeOneErrorIsWhatItSays) {
  constexpr int kRounds = 6000;
  Rng rng(20);
  int at_5_percent = 0, at_5_per_mille = 0, covered = 0;
  for (int round = 0; round < kRounds; ++round) {
    const Estimate estimate = mean_of_cells(crossed_cells(GetParam(), 0, rng));
    at_5_percent += estimate.p < .05;
    at_5_per_mille += estimate.p < .005;
    covered += (*estimate.interval)[0] <= 0 && 0 <= (*estimate.interval)[1];
  }
  // A standard error of the simulation: .003 and .0009.
  EXPECT_GE(at_5_percent, .035 * kRounds);
  EXPECT_LE(at_5_percent, .065 * kRounds);
  EXPECT_GE(at_5_per_mille, .0025 * kRounds);
  EXPECT_LE(at_5_per_mille, .01 * kRounds);
  EXPECT_EQ(covered, kRounds - at_5_percent);
}

INSTANTIATE_TEST_SUITE_P(Designs, CalibrationTest, testing::ValuesIn(test::kDesigns));

}  // namespace
}  // namespace assay::eval
