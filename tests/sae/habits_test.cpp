// Clipping, averaged weights and resampling, each against its definition.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "kernels/base/error.h"
#include "sae/ema.h"
#include "sae/resample.h"
#include "sae/variants/variants.h"
#include "tests/support/planted.h"

namespace assay::sae {
namespace {

constexpr int64_t kRows = 96, kD = 21, kN = 130;

std::unique_ptr<Variant> topk(const TrainConfig& train, int64_t n = kN, int64_t d = kD) {
  ModelConfig model;
  model.n = n;
  model.k = 5;
  return make_variant({model, with_defaults(train, model, d), d, d, 0.9});
}

State start(Context& context, const Variant& variant) {
  State state = variant.create();
  const auto x = support::planted_activations(kRows, kD, 60, 4, 49);
  const ConstMatrix rows(x.data(), kRows, kD);
  variant.initialise(context, state, 1, {rows, rows});
  return state;
}

State after_one_step(Context& context, double clip_norm) {
  TrainConfig train;
  train.clip_norm = clip_norm;
  train.aux_k = 8;
  train.dead_after_tokens = 1;  // AuxK takes part from the first step
  const auto variant = topk(train);
  State state = start(context, *variant);
  const auto x = support::planted_activations(kRows, kD, 60, 4, 50);
  const ConstMatrix rows(x.data(), kRows, kD);
  NumericFlag flag;
  const StepReport report = variant->step(context, state, {rows, rows}, 1e-3, flag);
  EXPECT_GT(report.aux_loss, 0);
  return state;
}

/// After one step from zero moments m = (1 − β₁)·gradient.
double gradient_norm(const State& state) {
  double squares = 0;
  for (const auto& [name, p] : state.parameters) {
    for (const float m : p.m) squares += std::pow(m / 0.1, 2);
  }
  return std::sqrt(squares);
}

TEST(Clipping, ScalesEveryGradientToTheLimitOfTheirJointNorm) {
  Context context({Device::cpu, 2});
  const State free = after_one_step(context, 0), loose = after_one_step(context, 1e6);
  const double norm = gradient_norm(free);
  const State tight = after_one_step(context, norm / 3);
  EXPECT_NEAR(gradient_norm(tight), norm / 3, 1e-5 * norm);
  for (const auto& [name, p] : free.parameters) {
    EXPECT_EQ(p.value, loose.at(name).value) << name;
    double largest = 0;
    for (const float m : p.m) largest = std::max<double>(largest, std::abs(m));
    EXPECT_GT(largest, 0) << name;
    for (size_t i = 0; i < p.m.size(); ++i)
      ASSERT_NEAR(tight.at(name).m[i], p.m[i] / 3, 1e-5 * largest) << name;
  }
}

TEST(Average, FollowsItsRecurrenceAndIsPublishedWithUnitRows) {
  Context context({Device::cpu, 2});
  TrainConfig train;
  const auto variant = topk(train);
  State state = start(context, *variant);
  start_average(state);
  std::map<std::string, std::vector<double>> expected;
  for (const auto& [name, p] : state.parameters) expected[name] = {p.value.begin(), p.value.end()};
  NumericFlag flag;
  for (int t = 1; t <= 30; ++t) {
    const auto x = support::planted_activations(kRows, kD, 60, 4, 50 + t);
    const ConstMatrix rows(x.data(), kRows, kD);
    variant->step(context, state, {rows, rows}, 1e-2, flag);
    average(context, state, 0.7);
    const double keep = std::min(0.7, (1.0 + t) / (10.0 + t));
    for (auto& [name, a] : expected) {
      for (size_t i = 0; i < a.size(); ++i)
        a[i] = keep * a[i] + (1 - keep) * state.at(name).value[i];
    }
  }
  for (const auto& [name, a] : expected) {
    for (size_t i = 0; i < a.size(); ++i)
      ASSERT_NEAR(state.averaged.at(name)[i], a[i], 1e-5) << name;
  }
  publish_average(context, state, true);
  EXPECT_EQ(state.at("W_enc").value, state.averaged.at("W_enc"));
  for (int64_t j = 0; j < kN; ++j) {
    double squares = 0, along = 0, length = 0;
    for (int64_t c = 0; c < kD; ++c) {
      const double value = state.decoder().row(j)[c], a = expected.at("W_dec")[j * kD + c];
      squares += value * value;
      along += value * a;
      length += a * a;
    }
    ASSERT_NEAR(squares, 1, 1e-5);
    ASSERT_NEAR(along, std::sqrt(length), 1e-5) << "the direction is the average's";
  }
}

TEST(Resampling, DrawsInputsBySquaredLossAndStartsAnew) {
  constexpr int64_t n = 4000, d = 8, alive = 3;
  Context context({Device::cpu, 2});
  TrainConfig train;
  train.dead_after_tokens = 100;
  const auto variant = topk(train, n, d);
  State state = variant->create();
  for (auto& [name, p] : state.parameters) {
    p.m.assign(p.m.size(), 2.0f);
    p.v.assign(p.v.size(), 3.0f);
  }
  std::vector<float>& decoder = state.at("W_dec").value;
  for (int64_t j = 0; j < n; ++j) {
    state.silent[j] = j < alive ? 99 : 100;
    state.at("b_enc").value[j] = -1;  // nothing fires: every reconstruction is b_dec
    decoder[j * d + 7] = 1;
    state.at("W_enc").value[j * d + 7] = 5;
  }
  state.at("b_dec").value[0] = 0.5f;
  std::vector<float> x(3 * d, 0.0f);  // losses 0, 1 and 2
  x[0] = x[d] = x[2 * d] = 0.5f;
  x[d + 1] = 1;
  x[2 * d + 2] = std::sqrt(2.0f);
  state.screen.refresh(context, state.encoder());
  start_average(state);
  ASSERT_EQ(resample_dead(context, *variant, state, {x.data(), 3, d}, 5), n - alive);
  int64_t second = 0;
  for (int64_t j = alive; j < n; ++j) {
    const float *dec = state.decoder().row(j), *enc = state.encoder().row(j);
    const int64_t at = dec[1] != 0 ? 1 : 2;
    second += at == 2;
    for (int64_t c = 0; c < d; ++c) {
      ASSERT_NEAR(dec[c], c == at ? 1.0 : 0.0, 1e-6);
      ASSERT_NEAR(enc[c], c == at ? 0.2 * 5 : 0.0, 1e-6) << "0.2 of the living latents' norm";
      ASSERT_EQ(state.at("W_enc").m[j * d + c], 0);
      ASSERT_EQ(state.at("W_dec").v[j * d + c], 0);
      ASSERT_EQ(state.averaged.at("W_dec")[j * d + c], dec[c]);
    }
    ASSERT_EQ(state.at("b_enc").value[j], 0);
    ASSERT_EQ(state.silent[j], 0);
  }
  const double share = static_cast<double>(second) / (n - alive);  // 2² / (1² + 2²)
  EXPECT_NEAR(share, 0.8, 5 * std::sqrt(0.8 * 0.2 / n));
  for (int64_t j = 0; j < alive; ++j) {
    EXPECT_EQ(decoder[j * d + 7], 1);
    EXPECT_EQ(state.at("W_enc").m[j * d], 2);
    EXPECT_EQ(state.silent[j], 99);
  }
}

TEST(Resampling, IsDueUntilTheDecayAndOnlyWhereItIsKnown) {
  TrainConfig train;
  train.steps = 1000;
  train.decay_fraction = 0.2;
  train.resample_every = 200;
  std::vector<int64_t> due;
  for (int64_t step = 1; step <= 1000; ++step) {
    if (resampling_due(train, step)) due.push_back(step);
  }
  EXPECT_THAT(due, ::testing::ElementsAre(200, 400, 600));
  const auto variant = topk(train);
  State state = variant->create();
  EXPECT_NO_THROW(check_resampling(*variant, state));
  state.add("theta", {kN});
  EXPECT_THROW(check_resampling(*variant, state), UsageError);
}

}  // namespace
}  // namespace assay::sae
