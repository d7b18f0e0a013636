// Arms chosen on one half of the units and scored on the other.
#include "eval/results/compare_choice.h"

#include <gtest/gtest.h>

namespace assay::eval::compare_parts {
namespace {

Arm arm_of(const char* method, std::vector<Cell> cells) {
  return {"", method, method, false, std::move(cells)};
}

TEST(CompareChoice, OfTwoUnitsEachIsScoredByTheArmThatTheOtherPrefers) {
  const Arm a = arm_of("a", {{4, 0, .9}, {7, 0, .1}}), b = arm_of("b", {{4, 0, .2}, {7, 0, .8}});
  const auto chosen = choose_on_other_units({&a, &b}, {4, 7});
  ASSERT_TRUE(chosen.has_value());
  ASSERT_EQ(chosen->cells.size(), 2U);
  for (const Cell& cell : chosen->cells) EXPECT_EQ(cell.value, cell.unit == 4 ? .2 : .1);
  EXPECT_EQ(chosen->cells[0].unit + chosen->cells[1].unit, 4 + 7);
}

TEST(CompareChoice, OneUnitOrNoArmLeavesNothingToChooseOn) {
  const Arm a = arm_of("a", {{4, 0, .9}});
  EXPECT_FALSE(choose_on_other_units({&a}, {4}).has_value());
  EXPECT_FALSE(choose_on_other_units({}, {4, 7}).has_value());
}

}  // namespace
}  // namespace assay::eval::compare_parts
