// The gradient of the whole loss, AuxK included, against central finite differences of a naive loss
// in double.
#include <gtest/gtest.h>

#include <cmath>
#include <numeric>

#include "sae/variants/variants.h"
#include "tests/support/planted.h"

namespace assay::sae {
namespace {

constexpr int64_t kRows = 24, kD = 10, kN = 40, kK = 4, kAux = 3;
constexpr double kCoefficient = 0.25, kVariance = 0.8;

/// Weights in double, one flat vector: W_enc, W_dec, b_enc, b_dec.
struct Weights {
  std::vector<double> w_enc, w_dec, b_enc, b_dec;
};

std::vector<int> top(const std::vector<double>& pre, const std::vector<char>& allowed, int64_t k) {
  std::vector<int> order;
  for (int j = 0; j < kN; ++j) {
    if (allowed[j]) order.push_back(j);
  }
  std::sort(order.begin(), order.end(), [&](int a, int b) { return pre[a] > pre[b]; });
  order.resize(std::min<size_t>(order.size(), static_cast<size_t>(k)));
  return order;
}

/// The residual's loss and AuxK's. `fixed` holds the unperturbed residuals, which AuxK aims at.
double naive_loss(const Weights& w, const std::vector<float>& x, const std::vector<char>& dead,
                  std::vector<double>& fixed, bool record) {
  double main = 0, aux = 0;
  if (record) fixed.assign(kRows * kD, 0);
  std::vector<std::vector<double>> all_pre(kRows, std::vector<double>(kN));
  for (int64_t i = 0; i < kRows; ++i) {
    auto& pre = all_pre[i];
    for (int64_t j = 0; j < kN; ++j) {
      pre[j] = w.b_enc[j];
      for (int64_t c = 0; c < kD; ++c) pre[j] += w.w_enc[j * kD + c] * (x[i * kD + c] - w.b_dec[c]);
    }
    std::vector<double> out = w.b_dec;
    for (const int j : top(pre, std::vector<char>(kN, 1), kK)) {
      for (int64_t c = 0; c < kD; ++c) out[c] += std::max(pre[j], 0.0) * w.w_dec[j * kD + c];
    }
    for (int64_t c = 0; c < kD; ++c) {
      const double r = x[i * kD + c] - out[c];
      main += r * r;
      if (record) fixed[i * kD + c] = r;
    }
  }
  double variance = 0;
  for (int64_t c = 0; c < kD; ++c) {
    double mean = 0;
    for (int64_t i = 0; i < kRows; ++i) mean += fixed[i * kD + c] / kRows;
    for (int64_t i = 0; i < kRows; ++i) variance += std::pow(fixed[i * kD + c] - mean, 2) / kRows;
  }
  for (int64_t i = 0; i < kRows; ++i) {
    std::vector<double> out(kD, 0.0);
    for (const int j : top(all_pre[i], dead, kAux)) {
      for (int64_t c = 0; c < kD; ++c) out[c] += std::max(all_pre[i][j], 0.0) * w.w_dec[j * kD + c];
    }
    for (int64_t c = 0; c < kD; ++c) aux += std::pow(fixed[i * kD + c] - out[c], 2);
  }
  return main / (kRows * kVariance) + kCoefficient * aux / (kRows * variance);
}

TEST(TopKGradient, MatchesFiniteDifferencesWithAuxK) {
  Context context({Device::cpu, 2});
  ModelConfig model;
  model.n = kN;
  model.k = kK;
  TrainConfig train;
  train.aux_k = kAux;
  train.aux_coefficient = kCoefficient;
  train.dead_after_tokens = 1'000'000;
  const auto variant = make_variant({model, with_defaults(train, model, kD), kD, kD, kVariance});
  State state = variant->create();
  const auto x = support::planted_activations(kRows, kD, 20, 2, 3);
  const ConstMatrix rows(x.data(), kRows, kD);
  variant->initialise(context, state, 5, {rows, rows});
  std::vector<char> dead(kN, 0);
  for (int64_t j = 0; j < kN; j += 4) {
    // Never among the winners of the batch, yet positive for some rows: AuxK must teach these.
    state.at("b_enc").value[j] = -0.12f;
    state.silent[j] = 1'000'000;
  }
  Weights before{{state.at("W_enc").value.begin(), state.at("W_enc").value.end()},
                 {state.at("W_dec").value.begin(), state.at("W_dec").value.end()},
                 {state.at("b_enc").value.begin(), state.at("b_enc").value.end()},
                 {state.at("b_dec").value.begin(), state.at("b_dec").value.end()}};
  NumericFlag flag;
  const StepReport report = variant->step(context, state, {rows, rows}, 1e-4, flag);
  for (int64_t j = 0; j < kN; ++j) dead[j] = state.silent[j] >= 1'000'000;
  ASSERT_EQ(std::accumulate(dead.begin(), dead.end(), 0), report.dead);
  ASSERT_GE(report.dead, 3);

  std::vector<double> fixed;
  EXPECT_NEAR(report.loss, naive_loss(before, x, dead, fixed, true), 1e-5);
  ASSERT_GT(report.aux_loss, 0);

  // After Adam's first step m = (1 − β1)·gradient.
  const auto check = [&](std::vector<double>& weights, const std::vector<float>& m,
                         const char* name, bool projected) {
    int moved = 0;
    for (size_t i = 0; i < weights.size(); ++i) {
      if (projected) continue;
      const double keep = weights[i], h = 1e-5;
      weights[i] = keep + h;
      const double up = naive_loss(before, x, dead, fixed, false);
      weights[i] = keep - h;
      const double down = naive_loss(before, x, dead, fixed, false);
      weights[i] = keep;
      const double expected = (up - down) / (2 * h);
      EXPECT_NEAR(m[i] / 0.1, expected, 2e-4 + 1e-3 * std::abs(expected)) << name << " " << i;
      moved += std::abs(expected) > 1e-3;
    }
    EXPECT_GT(moved, 3) << name;
  };
  check(before.w_enc, state.at("W_enc").m, "W_enc", false);
  check(before.b_enc, state.at("b_enc").m, "b_enc", false);
  check(before.b_dec, state.at("b_dec").m, "b_dec", false);

  // The decoder's gradient loses its part along each row.
  for (int64_t j = 0; j < kN; ++j) {
    std::vector<double> g(kD);
    double along = 0, size = 0;
    for (int64_t c = 0; c < kD; ++c) {
      double& weight = before.w_dec[j * kD + c];
      const double keep = weight, h = 1e-5;
      weight = keep + h;
      const double up = naive_loss(before, x, dead, fixed, false);
      weight = keep - h;
      g[c] = (up - naive_loss(before, x, dead, fixed, false)) / (2 * h);
      weight = keep;
      along += g[c] * keep;
      size += std::abs(g[c]);
    }
    for (int64_t c = 0; c < kD; ++c) {
      EXPECT_NEAR(state.at("W_dec").m[j * kD + c] / 0.1, g[c] - along * before.w_dec[j * kD + c],
                  2e-4 + 1e-3 * size)
          << j;
    }
  }
}

TEST(GeometricMedian, ResistsAnOutlierAndBalancesUnitPulls) {
  auto x = reference::normal(101 * 3, 1);
  for (int64_t c = 0; c < 3; ++c) x[300 + c] = 1e4f;
  const auto median = geometric_median({x.data(), 101, 3});
  double pull[3] = {};
  for (int64_t i = 0; i < 101; ++i) {
    double squares = 0;
    for (int64_t c = 0; c < 3; ++c) squares += std::pow(x[i * 3 + c] - median[c], 2);
    for (int64_t c = 0; c < 3; ++c) pull[c] += (x[i * 3 + c] - median[c]) / std::sqrt(squares);
  }
  for (int64_t c = 0; c < 3; ++c) {
    EXPECT_LT(std::abs(median[c]), 0.5);
    EXPECT_NEAR(pull[c], 0, 1e-3);  // the first-order condition of the median
  }
}

}  // namespace
}  // namespace assay::sae
