// The plan's sizes against those of what is then made.
#include "sae/plan.h"

#include <gtest/gtest.h>

#include "tests/sae/variant_support.h"

namespace assay::sae {
namespace {

using namespace test;

int64_t bytes(const std::vector<float>& values) { return 4 * static_cast<int64_t>(values.size()); }

int64_t item(const Plan& plan, const std::string& what) {
  for (const PlanItem& item : plan.resident) {
    if (item.what == what) return item.bytes;
  }
  ADD_FAILURE() << what;
  return -1;
}

PlanInput input_of(const std::string& name) {
  PlanInput in;
  in.variant = small_options(name);
  if (in.variant.d_out != in.variant.d_in) in.data.target_hook = "out";
  return in;
}

class AnyPlan : public testing::TestWithParam<std::string> {};

TEST_P(AnyPlan, CountsWhatTheStateHolds) {
  PlanInput in = input_of(GetParam());
  in.variant.train.ema = 0.9;
  const Plan plan = plan_run(in);
  const State state = make_variant(in.variant)->create();
  int64_t elements = 0, held = 0;
  for (const auto& [name, p] : state.parameters) {
    elements += static_cast<int64_t>(p.value.size());
    held += bytes(p.value) + bytes(p.m) + bytes(p.v);
  }
  EXPECT_EQ(plan.parameters, elements);
  EXPECT_EQ(item(plan, "parameters and Adam's moments"), held);
  EXPECT_EQ(item(plan, "running average of the weights"), 4 * elements);
  const int64_t packed = state.screen.blocks() * state.screen.pairs() * 16 * 4;
  EXPECT_EQ(item(plan, "bf16 copy for screening"),
            packed + bytes(state.screen.norm()) + bytes(state.screen.error()) +
                8 * static_cast<int64_t>(state.silent.size()));
}

/// Where the latents are divided, so is what belongs to them, and nothing else.
TEST_P(AnyPlan, DividesWhatBelongsToLatents) {
  PlanInput in = input_of(GetParam());
  const int64_t whole = item(plan_run(in), "parameters and Adam's moments");
  in.ranks = 4;
  const int64_t part = item(plan_run(in), "parameters and Adam's moments");
  const State state = make_variant(in.variant)->create();
  int64_t of_latents = 0;
  for (const auto& [name, p] : state.parameters) {
    if (p.shape.front() == kN) of_latents += 12 * static_cast<int64_t>(p.value.size());
  }
  EXPECT_EQ(whole - part, of_latents - of_latents / 4);
}

std::vector<std::string> names() {
  std::vector<std::string> all;
  for (const VariantEntry* entry : variants()) all.emplace_back(entry->name);
  return all;
}

INSTANTIATE_TEST_SUITE_P(All, AnyPlan, testing::ValuesIn(names()));

}  // namespace
}  // namespace assay::sae
