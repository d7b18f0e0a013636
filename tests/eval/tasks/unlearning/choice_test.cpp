// What the unlearning task chooses by: the drop, latents and their matched controls.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

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

TEST(Unlearning, ALatentsWeightIsItsRateAndItsMeanTimesItsDecodersNorm) {
  sae::Dictionary dictionary = test::identity_dictionary(3, 1);
  for (float& w : dictionary.w_dec) w *= 2;
  LatentRates rates;
  rates.mean_active.assign(static_cast<size_t>(dictionary.info.n), 0.0);
  rates.mean_active[1] = 1.5;
  rates.overall = rates.mean_active;
  const auto weights = token_weights(dictionary, rates);
  EXPECT_NEAR(weights[1].size, std::log(3), 1e-6);
  EXPECT_NEAR(weights[1].rate, std::log(1.5), 1e-6);
  EXPECT_FALSE(std::isfinite(weights[0].size)) << "it writes nothing";
}

}  // namespace
}  // namespace assay::eval::unlearning
