#include <gtest/gtest.h>

#include <limits>

#include "sae/variants/variants.h"
#include "tests/support/isa.h"
#include "tests/support/planted.h"

namespace assay::sae {
namespace {

constexpr int64_t kRows = 128, kD = 33, kN = 300;

std::unique_ptr<Variant> small() {
  ModelConfig model;
  model.n = kN;
  model.k = 6;
  TrainConfig train;
  train.aux_k = 16;
  train.dead_after_tokens = 2 * kRows;
  return make_variant({model, with_defaults(train, model, kD), kD, kD, 0.9});
}

State start(Context& context, const Variant& variant) {
  State state = variant.create();
  const auto x = support::planted_activations(kRows, kD, 60, 4, 49);
  const ConstMatrix rows(x.data(), kRows, kD);
  variant.initialise(context, state, 1, {rows, rows});
  return state;
}

State trained(int threads, Isa isa) {
  Context context({Device::cpu, threads});
  context.force_isa(isa);
  const auto variant = small();
  State state = start(context, *variant);
  NumericFlag flag;
  for (int64_t t = 0; t < 12; ++t) {
    const auto x = support::planted_activations(kRows, kD, 60, 4, 50 + t);
    const ConstMatrix rows(x.data(), kRows, kD);
    variant->step(context, state, {rows, rows}, 1e-3, flag);
  }
  EXPECT_FALSE(flag.raised());
  return state;
}

TEST(TopKStep, SameBitsOnAnyThreadsAndInstructionSet) {
  const State expected = trained(1, Isa::scalar);
  for (const Isa isa : support::available_isas()) {
    for (const int threads : {1, 3}) {
      const State state = trained(threads, isa);
      EXPECT_EQ(state.at("W_enc").value, expected.at("W_enc").value);
      EXPECT_EQ(state.at("W_dec").v, expected.at("W_dec").v);
      EXPECT_EQ(state.at("b_dec").value, expected.at("b_dec").value);
      EXPECT_EQ(state.silent, expected.silent);
    }
  }
}

TEST(TopKStep, ANotFiniteRowLeavesTheParameters) {
  Context context({Device::cpu, 2});
  const auto variant = small();
  State state = start(context, *variant);
  const auto before = state.at("W_enc").value;
  auto x = support::planted_activations(kRows, kD, 60, 4, 50);
  x[77 * kD + 5] = std::numeric_limits<float>::quiet_NaN();
  const ConstMatrix rows(x.data(), kRows, kD);
  NumericFlag flag;
  variant->step(context, state, {rows, rows}, 1e-3, flag);
  EXPECT_EQ(flag.row(), 77);
  EXPECT_EQ(state.at("W_enc").value, before);
  EXPECT_EQ(state.step, 0);
}

}  // namespace
}  // namespace assay::sae
