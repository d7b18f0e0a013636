#include "eval/statistics/randomisation.h"

#include <gtest/gtest.h>

#include <cmath>

#include "kernels/base/error.h"
#include "kernels/base/random.h"

namespace assay::eval {
namespace {

/// Thousandths that are no multiples of each other, with ties.
std::vector<Lot> units_of(uint64_t seed, int64_t count, int64_t outcomes) {
  Rng rng(seed);
  std::vector<Lot> units(static_cast<size_t>(count));
  for (Lot& unit : units) {
    for (int64_t i = 0; i < outcomes; ++i)
      unit.could.push_back(static_cast<double>(rng.below(7) * rng.below(20)) / 1000);
    unit.got = unit.could[rng.below(unit.could.size())];
  }
  return units;
}

TEST(Randomisation, IsTheCountOfAllOutcomes) {
  for (uint64_t seed = 0; seed < 20; ++seed) {
    const std::vector<Lot> units = units_of(seed, 4, 5);
    double got = 0, expected = 0, above = 0, below = 0;
    for (const Lot& unit : units) got += unit.got;
    for (int code = 0; code < 625; ++code) {
      double sum = 0;
      for (int unit = 0, rest = code; unit < 4; ++unit, rest /= 5)
        sum += units[static_cast<size_t>(unit)].could[static_cast<size_t>(rest % 5)];
      expected += sum / 4 / 625;
      above += sum > got - 1e-9;
      below += sum < got + 1e-9;
    }
    const LotTest found = test_lots(units);
    EXPECT_NEAR(found.expected, expected, 1e-12);
    EXPECT_NEAR(found.p, std::min(1.0, 2 * std::min(above, below) / 625), 1e-12);
  }
}

TEST(Randomisation, SkewedValuesAreHeldToTheirLevel) {
  constexpr int kDraws = 2000;
  int rejected = 0;
  Rng rng(3);
  for (int draw = 0; draw < kDraws; ++draw) {
    std::vector<Lot> units(16);
    for (Lot& unit : units) {
      for (int rank = 1; rank <= 8; ++rank) unit.could.push_back(1.0 / rank);
      unit.got = unit.could[rng.below(8)];
    }
    rejected += test_lots(units).p < 0.05;
  }
  const double rate = static_cast<double>(rejected) / kDraws;
  EXPECT_LT(rate, 0.05 + 3 * std::sqrt(0.05 * 0.95 / kDraws)) << "the level is .05";
  EXPECT_GT(rate, 0.03) << "and it is used";
}

TEST(Randomisation, EvidenceHasNoFloorAndTiesAreNone) {
  std::vector<Lot> units(48);
  for (Lot& unit : units) {
    for (int rank = 1; rank <= 24; ++rank) unit.could.push_back(1.0 / rank);
    unit.got = 1;
  }
  EXPECT_LT(test_lots(units).p, 1e-60);
  for (Lot& unit : units) unit.could.assign(24, unit.got = 0.157);
  EXPECT_NEAR(test_lots(units).p, 1, 1e-12);
  units[0].could[3] = 1.5;
  EXPECT_THROW(test_lots(units), Error);
  EXPECT_THROW(test_lots({}), Error);
}

}  // namespace
}  // namespace assay::eval
