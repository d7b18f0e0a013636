#include <gtest/gtest.h>

#include <limits>

#include "sae/topk.h"
#include "tests/support/isa.h"
#include "tests/support/planted.h"

namespace assay::sae {
namespace {

constexpr int64_t kRows = 128, kD = 33, kN = 300;
const TopKOptions kOptions{6, 16, 1.0 / 32, 2 * kRows, 0.9, 0.9, 0.999, 6.25e-10};

TopKState trained(int threads, Isa isa) {
  Context context({Device::cpu, threads});
  context.force_isa(isa);
  TopKState state(kN, kD);
  initialise(context, state, 1);
  TopKStep step(kOptions, kRows, kD);
  NumericFlag flag;
  for (int64_t t = 0; t < 12; ++t) {
    const auto x = support::planted_activations(kRows, kD, 60, 4, 50 + t);
    step.run(context, state, {x.data(), kRows, kD}, 1e-3, flag);
  }
  EXPECT_FALSE(flag.raised());
  return state;
}

TEST(TopKStep, SameBitsOnAnyThreadsAndInstructionSet) {
  const TopKState expected = trained(1, Isa::scalar);
  for (const Isa isa : support::available_isas()) {
    for (const int threads : {1, 3}) {
      const TopKState state = trained(threads, isa);
      EXPECT_EQ(state.w_enc.value, expected.w_enc.value);
      EXPECT_EQ(state.w_dec.v, expected.w_dec.v);
      EXPECT_EQ(state.b_dec.value, expected.b_dec.value);
      EXPECT_EQ(state.silent, expected.silent);
    }
  }
}

TEST(TopKStep, ANotFiniteRowLeavesTheParameters) {
  Context context({Device::cpu, 2});
  TopKState state(kN, kD);
  initialise(context, state, 1);
  const auto before = state.w_enc.value;
  auto x = support::planted_activations(kRows, kD, 60, 4, 50);
  x[77 * kD + 5] = std::numeric_limits<float>::quiet_NaN();
  TopKStep step(kOptions, kRows, kD);
  NumericFlag flag;
  step.run(context, state, {x.data(), kRows, kD}, 1e-3, flag);
  EXPECT_EQ(flag.row(), 77);
  EXPECT_EQ(state.w_enc.value, before);
  EXPECT_EQ(state.step, 0);
}

}  // namespace
}  // namespace assay::sae
