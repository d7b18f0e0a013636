// The device step under the emulator against the CPU's step: the same winners, parameters, moments
// and silence.
#include <gtest/gtest.h>

#include <limits>

#include "kernels/base/error.h"
#include "kernels/cuda/topk_step.cuh"
#include "sae/device_step.h"
#include "sae/variants/variants.h"
#include "tests/support/emulated_machine.h"
#include "tests/support/planted.h"

namespace assay::sae {
namespace {

using emulator::EmulatedMachine;

constexpr int64_t kBatch = 150, kD = 20, kN = 150, kK = 6;

VariantOptions variant_options(int64_t dead_after) {
  VariantOptions o;
  o.model.n = kN;
  o.model.k = kK;
  o.train.aux_coefficient = 1.0 / 32;
  o.train.aux_k = 8;
  o.train.dead_after_tokens = dead_after;
  o.train.beta1 = 0.9;
  o.train.beta2 = 0.999;
  o.train.eps = 6.25e-10;
  o.d_in = o.d_out = kD;
  o.variance = 0.8;
  return o;
}

class TopKStepCudaTest : public testing::TestWithParam<int> {
 protected:
  std::vector<float> batch(int64_t step) const {
    return support::planted_activations(kBatch, kD, 60, 4, 100 + static_cast<uint64_t>(step));
  }
  State started() {
    State state = variant_->create();
    const auto sample = batch(-1);
    const ConstMatrix x(sample.data(), kBatch, kD);
    variant_->initialise(context_, state, 7, {x, x});
    // Some latents never win: they die, and AuxK takes them up.
    for (int64_t i = 0; i < kN * kD; ++i) {
      if (i / kD % 3 == 0) state.at("W_enc").value[i] *= 0.05f;
    }
    state.screen.refresh(context_, state.encoder());
    return state;
  }
  StepReport step_cpu(State& state, std::vector<float> x, NumericFlag& flag) {
    const ConstMatrix rows(x.data(), kBatch, kD);
    return variant_->step(context_, state, {rows, rows}, 1e-3, flag);
  }
  void step_on_machine(const std::vector<float>& x) {
    std::copy(x.begin(), x.end(), step_.input().data);
    step_.run(1e-3);
  }

  Context context_{{Device::cpu, 2}};
  const VariantOptions options_ = variant_options(3 * kBatch);
  std::unique_ptr<Variant> variant_ = make_variant(options_);
  EmulatedMachine machine_{emulator::kOrders[GetParam()], 8 * 1024};
  TopKStepOn<EmulatedMachine> step_{machine_, device_step_options(options_, kBatch)};
};

TEST_P(TopKStepCudaTest, TakesTheCpusSteps) {
  State expected = started(), found = started();
  step_.upload(host_state(found));
  int64_t most_dead = 0;
  double most_aux = 0;
  for (int64_t s = 0; s < 8; ++s) {
    NumericFlag flag;
    const StepReport cpu = step_cpu(expected, batch(s), flag);
    step_on_machine(batch(s));
    const auto indices = step_.indices();
    const auto values = step_.values();
    for (int64_t p = 0; p < kBatch * kK; ++p) {
      ASSERT_EQ(indices[p], variant_->codes().indices[p]) << "step " << s << ", pair " << p;
      ASSERT_EQ(values[p], variant_->codes().values[p]) << "step " << s << ", pair " << p;
    }
    const TopKStepReport report = step_.report();
    EXPECT_EQ(report.steps, 1);
    EXPECT_NEAR(report.loss, cpu.loss, 1e-7 * cpu.loss);
    EXPECT_DOUBLE_EQ(report.fvu, cpu.fvu);
    EXPECT_NEAR(report.aux_loss, cpu.aux_loss, 1e-6 * cpu.aux_loss);
    EXPECT_DOUBLE_EQ(report.l0, cpu.l0);
    EXPECT_EQ(report.dead, cpu.dead);
    EXPECT_EQ(report.bad_step, -1);
    most_dead = std::max(most_dead, cpu.dead);
    most_aux = std::max(most_aux, cpu.aux_loss);
  }
  EXPECT_GT(most_dead, options_.train.aux_k);
  EXPECT_GT(most_aux, 0);
  EXPECT_EQ(step_.download(host_state(found)), expected.step);
  for (const auto& [name, parameter] : expected.parameters) {
    EXPECT_EQ(found.at(name).value, parameter.value) << name;
    EXPECT_EQ(found.at(name).m, parameter.m) << name;
    EXPECT_EQ(found.at(name).v, parameter.v) << name;
  }
  EXPECT_EQ(found.silent, expected.silent);
}

TEST_P(TopKStepCudaTest, NoStepWaits) {
  State state = started();
  step_.upload(host_state(state));
  const int64_t before = machine_.waits();
  for (int64_t s = 0; s < 6; ++s) step_on_machine(batch(s));
  EXPECT_EQ(machine_.waits(), before);
  EXPECT_GT(step_.report().aux_loss, 0);
}

TEST_P(TopKStepCudaTest, ABadRowStopsEverythingUntilItIsRead) {
  State expected = started(), found = started();
  step_.upload(host_state(found));
  NumericFlag flag;
  for (int64_t s = 0; s < 2; ++s) {
    step_cpu(expected, batch(s), flag);
    step_on_machine(batch(s));
  }
  auto bad = batch(2);
  bad[17 * kD + 3] = std::numeric_limits<float>::quiet_NaN();
  bad[11 * kD + 5] = std::numeric_limits<float>::infinity();
  step_on_machine(bad);
  step_on_machine(batch(3));
  const TopKStepReport report = step_.report();
  EXPECT_EQ(report.steps, 2);
  EXPECT_EQ(report.bad_step, 2);
  EXPECT_EQ(report.bad_row, 11);
  step_.download(host_state(found));
  for (const auto& [name, parameter] : expected.parameters) {
    EXPECT_EQ(found.at(name).value, parameter.value) << name;
    EXPECT_EQ(found.at(name).m, parameter.m) << name;
  }
  EXPECT_EQ(found.silent, expected.silent);
}

INSTANTIATE_TEST_SUITE_P(Orders, TopKStepCudaTest, testing::Range(0, 4));

TEST(TopKStepCuda, RefusesWhatDoesNotFit) {
  VariantOptions other = variant_options(1);
  other.model.variant = "jumprelu";
  EXPECT_THROW(device_step_options(other, kBatch), UsageError);
  VariantOptions clipped = variant_options(1);
  clipped.train.clip_norm = 1;
  EXPECT_THROW(device_step_options(clipped, kBatch), UsageError);
  VariantOptions narrow = variant_options(1);
  narrow.train.optimizer_state = "bf16";
  EXPECT_THROW(device_step_options(narrow, kBatch), UsageError);
  TopKStepOptions o{8, 16, 4, 17};
  EXPECT_THROW(check_topk_step(o), UsageError);
  o.k = 4;
  check_topk_step(o);
  o.aux_coefficient = 1;
  EXPECT_THROW(check_topk_step(o), UsageError);
  o.aux_k = 2;
  for (const int64_t batch : {int64_t{1} << 30, int64_t{1} << 62}) {
    o.batch = batch;
    EXPECT_THROW(check_topk_step(o), UsageError);
  }
}

}  // namespace
}  // namespace assay::sae
