// What the unlearning task chooses by: the drop, the setting within a budget, latents and their
// rate-matched controls.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <set>

#include "eval/tasks/unlearning/run.h"
#include "kernels/base/random.h"

namespace assay::eval::unlearning {
namespace {

TEST(Unlearning, TheDropCountsSuccessOfEitherSign) {
  EXPECT_DOUBLE_EQ(forget_drop(0.9, 0.9), 0);
  EXPECT_DOUBLE_EQ(forget_drop(0.5, 0.9), 1);
  EXPECT_DOUBLE_EQ(forget_drop(0.1, 0.9), 0) << "an inverted probe is a probe";
  EXPECT_DOUBLE_EQ(forget_drop(0.7, 0.9), 0.5);
  EXPECT_DOUBLE_EQ(forget_drop(0.5, 0.5), 1);
}

TEST(Unlearning, TheSettingIsTheBestWithinTheBudgetAndTheWeakerOfEquals) {
  const std::vector<double> drop = {0.1, 0.4, 0.4, 0.9}, damage = {0, 0.5, 0.2, 3};
  EXPECT_EQ(choose_setting(drop, damage, 1), 1);
  EXPECT_EQ(choose_setting(drop, damage, 0), 0);
  EXPECT_EQ(choose_setting(drop, damage, 5), 3);
  EXPECT_EQ(choose_setting({-0.1, 0}, {0, 0}, 5), std::nullopt);
}

TEST(Unlearning, SelectionAndRateMatchingAreWhatTheySay) {
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
  const auto matched = rate_matched(rates, chosen, 1);
  std::set<int64_t> all(chosen.begin(), chosen.end());
  for (size_t i = 0; i < matched.size(); ++i) {
    EXPECT_TRUE(all.insert(matched[i]).second) << "distinct, and not chosen";
    int nearer = 0;
    for (int64_t j = 0; j < 200; ++j)
      nearer += std::fabs(rates.overall[j] - rates.overall[chosen[i]]) <
                std::fabs(rates.overall[matched[i]] - rates.overall[chosen[i]]);
    EXPECT_LE(nearer, 20 + 2 * 10) << "among the 20 nearest of those left";
  }
  EXPECT_EQ(matched, rate_matched(rates, chosen, 1));
  EXPECT_NE(matched, rate_matched(rates, chosen, 2));
}

}  // namespace
}  // namespace assay::eval::unlearning
