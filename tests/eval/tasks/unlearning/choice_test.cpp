// What the unlearning task chooses by: the drop, latents and their matched controls.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <set>

#include "eval/tasks/unlearning/run.h"
#include "kernels/base/random.h"
#include "tests/eval/planted_data.h"

namespace assay::eval::unlearning {
namespace {

TEST(Unlearning, TheDropCountsSuccessOfEitherSign) {
  EXPECT_DOUBLE_EQ(forget_drop(0.9, 0.9), 0);
  EXPECT_DOUBLE_EQ(forget_drop(0.5, 0.9), 1);
  EXPECT_DOUBLE_EQ(forget_drop(0.1, 0.9), 0) << "an inverted probe is a probe";
  EXPECT_DOUBLE_EQ(forget_drop(0.7, 0.9), 0.5);
  EXPECT_DOUBLE_EQ(forget_drop(0.5, 0.5), 1);
}

TEST(Unlearning, SelectionIsWhatItSays) {
  LatentRates rates;
  Rng rng(3);
  for (int64_t j = 0; j < 200; ++j) {
    rates.forget.push_back(rng.uniform() * 0.3);
    rates.retain.push_back(rng.uniform() * 0.3);
    rates.overall.push_back((rates.forget[j] + rates.retain[j]) / 2);
  }
  const auto chosen = select_latents(rates, 10);
  const auto score = [&](int64_t j) {
    const double f = rates.forget[j], r = rates.retain[j];
    return (f - r) / std::sqrt(f * (1 - f) + r * (1 - r) + 1e-3);
  };
  for (int64_t j = 0; j < 200; ++j)
    if (std::find(chosen.begin(), chosen.end(), j) == chosen.end()) {
      EXPECT_LE(score(j), score(chosen.back()));
    }
}

TEST(Unlearning, ControlsAreAsManyOthersOfLikeRateAndNorm) {
  LatentRates rates;
  std::vector<double> norm;
  Rng rng(3);
  for (int64_t j = 0; j < 400; ++j) {
    rates.overall.push_back(std::exp(-4 * rng.uniform()));
    norm.push_back(std::exp(-4 * rng.uniform()));
  }
  const std::vector<int64_t> chosen = {5, 17, 200, 399};
  const auto matched = matched_latents(rates, norm, chosen, 1);
  ASSERT_EQ(matched.size(), chosen.size());
  std::set<int64_t> all(chosen.begin(), chosen.end());
  const auto distance = [&](int64_t a, int64_t b) {
    return std::hypot(std::log(rates.overall[a] / rates.overall[b]), std::log(norm[a] / norm[b]));
  };
  for (size_t i = 0; i < matched.size(); ++i) {
    EXPECT_TRUE(all.insert(matched[i]).second) << "distinct, and not chosen";
    int nearer = 0;
    for (int64_t j = 0; j < 400; ++j)
      nearer += j != chosen[i] && distance(j, chosen[i]) < distance(matched[i], chosen[i]);
    EXPECT_LT(nearer, 20 + 2 * 4) << "among the 20 nearest of those left";
  }
  EXPECT_EQ(matched, matched_latents(rates, norm, chosen, 1));
  EXPECT_NE(matched, matched_latents(rates, norm, chosen, 2));
}

TEST(Unlearning, WhatALatentWritesIsItsMeanTimesItsDecodersNorm) {
  sae::Dictionary dictionary = test::identity_dictionary(3, 1);
  for (float& w : dictionary.w_dec) w *= 2;
  LatentRates rates;
  rates.mean_active.assign(static_cast<size_t>(dictionary.info.n), 0.0);
  rates.mean_active[1] = 1.5;
  const auto norms = written_norms(dictionary, rates);
  EXPECT_NEAR(norms[1], 3, 1e-6);
  EXPECT_EQ(norms[0], 0);
}

}  // namespace
}  // namespace assay::eval::unlearning
