// Where the training units begin to subtract the mean, and what they make of a row.
#include "sae/units.h"

#include <gmock/gmock.h>

#include <cmath>

#include "kernels/base/error.h"

namespace assay::sae {
namespace {

using testing::HasSubstr;

/// Two columns; the mean lies in the first.
data::HookInfo hook_with(float mean, double variance) {
  data::HookInfo hook{"activations", 2, DType::f32, {mean, 0}, variance};
  hook.scale = 1 / std::sqrt(variance + static_cast<double>(mean) * mean);
  return hook;
}

TEST(Units, AMeanNoLongerThanTheSpreadStays) {
  const data::HookInfo hook = hook_with(2, 4);
  EXPECT_DOUBLE_EQ(mean_ratio(hook), 1);
  const Units units = units_of({hook}, "shards");
  EXPECT_FALSE(units.centred);
  float row[2] = {3, -1};
  units.apply(row);
  const auto scale = static_cast<float>(1 / std::sqrt(8.0));
  EXPECT_EQ(row[0], 3 * scale);
  EXPECT_EQ(row[1], -1 * scale);
}

TEST(Units, ALongerOneIsSubtractedAndTheSpreadIsOne) {
  const data::HookInfo hook = hook_with(600, 4);
  EXPECT_DOUBLE_EQ(mean_ratio(hook), 300);
  const Units units = units_of({hook}, "shards");
  EXPECT_TRUE(units.centred);
  float row[2] = {603, -1};
  units.apply(row);
  EXPECT_EQ(row[0], 1.5f);
  EXPECT_EQ(row[1], -0.5f);
}

TEST(Units, HooksSideBySideKeepTheirOwn) {
  const Units units = units_of({hook_with(0, 4), hook_with(600, 16)}, "shards");
  EXPECT_TRUE(units.centred);
  EXPECT_EQ(units.shift, (std::vector<float>{0, 0, 600, 0}));
  EXPECT_EQ(units.scale, (std::vector<double>{0.5, 0.5, 0.25, 0.25}));
  EXPECT_NE(units.hash(), units_of({hook_with(0, 4), hook_with(601, 16)}, "shards").hash());
}

TEST(Units, UnknownStatisticsAreNamed) {
  try {
    units_of({data::HookInfo{"mlp_out", 2, DType::f32, {}}}, "shards");
    FAIL();
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), HasSubstr("shards: no mean and scale are known for mlp_out"));
  }
}

}  // namespace
}  // namespace assay::sae
