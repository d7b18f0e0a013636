#include "kernels/base/context.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <functional>
#include <string>

#include "kernels/base/error.h"
#include "tests/support/isa.h"

namespace assay {
namespace {

std::string refusal(const std::function<void()>& asked) {
  try {
    asked();
  } catch (const UsageError& error) {
    return error.what();
  }
  return "";
}

TEST(Context, AnInstructionSetThatIsMissingIsRefusedByTheNamesOfThoseThere) {
  const auto there = support::available_isas();
  if (there.back() == Isa::amx) GTEST_SKIP() << "this processor has every level";
  std::string names;
  for (const Isa isa : there) names += std::string(" ") + name_of(isa);
  Context context({Device::cpu, 1});
  EXPECT_EQ(refusal([&] { context.force_isa(Isa::amx); }),
            "instruction set amx: this processor lacks it; it has:" + names);
}

TEST(Context, TheEnvironmentLowersTheLevelOrIsRefused) {
  setenv("ASSAY_ISA", "scalar", 1);
  EXPECT_EQ(Context({Device::cpu, 1}).isa(), Isa::scalar);
  setenv("ASSAY_ISA", "sse9", 1);
  EXPECT_EQ(refusal([] {
              const Context context({Device::cpu, 1});
            }),
            "ASSAY_ISA=sse9: expected scalar, avx2, avx512 or amx");
  unsetenv("ASSAY_ISA");
}

}  // namespace
}  // namespace assay
