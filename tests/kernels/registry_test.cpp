#include "kernels/registry.h"

#include <gtest/gtest.h>

namespace assay {
namespace {

int one() { return 1; }
int two() { return 2; }

TEST(Registry, GivesTheBackEndOfTheDevice) {
  constexpr Operation<int()> kBoth{"count", {one, two}};
  EXPECT_EQ(kBoth.on(Device::cpu)(), 1);
  EXPECT_EQ(kBoth.on(Device::cuda)(), 2);
}

TEST(Registry, AMissingBackEndIsAClearError) {
  constexpr Operation<int()> kCpuOnly{"count", {one, nullptr}};
  EXPECT_EQ(kCpuOnly.on(Device::cpu)(), 1);
  try {
    kCpuOnly.on(Device::cuda);
    FAIL() << "nothing was thrown";
  } catch (const UsageError& error) {
    EXPECT_STREQ(error.what(), "operation count has no cuda back end in this build; it has: cpu");
  }
}

}  // namespace
}  // namespace assay
