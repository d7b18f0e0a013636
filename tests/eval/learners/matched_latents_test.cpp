// The control of an intervention: others of the same number and weight.
#include "eval/learners/matched_latents.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <set>

#include "kernels/base/random.h"

namespace assay::eval {
namespace {

std::vector<LatentWeight> weights_of(std::vector<float> codes, int64_t cols,
                                     const std::vector<float>& decoder) {
  return latent_weights({codes.data(), std::ssize(codes) / cols, cols}, decoder);
}

/// 400 latents in 12 dimensions over 200 texts: rates from 2 % to all, sizes over two decades.
std::vector<LatentWeight> varied_weights() {
  constexpr int64_t m = 400, rows = 200, d = 12;
  Rng rng(8);
  std::vector<float> codes(rows * m), decoder;
  for (int64_t j = 0; j < m; ++j) {
    const double rate = std::pow(50.0, -rng.uniform()), size = std::pow(100.0, rng.uniform());
    for (int64_t i = 0; i < rows; ++i)
      if (i == j % rows || rng.uniform() < rate)
        codes[i * m + j] = static_cast<float>(size * (0.5 + rng.uniform()));
    for (int64_t k = 0; k < d; ++k)
      decoder.push_back(static_cast<float>(rng.normal() * (1 + j % 3)));
  }
  return weights_of(codes, m, decoder);
}

TEST(MatchedLatents, AWeightIsTheRateAndTheMeanActivationTimesNorm) {
  const auto weights = weights_of({0, 1, 0, 2, 1, 0, 0, 1, 0, 4, 1, 0}, 3, {3, 4, 1, 0, 1, 1});
  EXPECT_NEAR(weights[0].rate, std::log(0.5), 1e-12);
  EXPECT_NEAR(weights[0].size, std::log(3.0 * 5), 1e-12);
  EXPECT_NEAR(weights[1].rate, 0, 1e-12);
  EXPECT_NEAR(weights[1].size, 0, 1e-12);
  EXPECT_FALSE(std::isfinite(weights[2].rate)) << "never active";
  EXPECT_FALSE(std::isfinite(latent_weight(0.5, 1, std::vector<float>(3)).size))
      << "writes nothing";
}

TEST(MatchedLatents, WhatNeverFiresIsNobodysPartnerAndHasNone) {
  const auto weights = weights_of({0, 1, 0, 2, 1, 0, 0, 1, 0, 4, 1, 0}, 3, {3, 4, 1, 0, 1, 1});
  using Latents = std::vector<int64_t>;
  EXPECT_EQ(matched_latents(weights, Latents{0}, 1), Latents{1}) << "the only one there is";
  EXPECT_EQ(matched_latents(weights, Latents{1}, 1), Latents{0}) << "the other way about";
  EXPECT_EQ(matched_latents(weights, Latents{2, 0}, 1), (Latents{kUnmatched, 1}));
  EXPECT_EQ(matched_latents(weights, Latents{0, 1}, 1), (Latents{kUnmatched, kUnmatched}));
  MatchQuality quality;
  quality.add(weights, Latents{2, 0}, Latents{kUnmatched, 1});
  EXPECT_EQ(quality.chosen, 2);
  EXPECT_EQ(quality.drawn, 1);
  EXPECT_NEAR(quality.rate, std::log(2), 1e-12);
  EXPECT_NEAR(quality.size, -std::log(15), 1e-12);
}

TEST(MatchedLatents, PartnersAreOthersOfTheSameNumberRateAndSizeAndDrawnAtRandom) {
  const auto weights = varied_weights();
  // The strong and frequent ones: unlike the average latent.
  std::vector<int64_t> chosen;
  double mean_rate = 0, mean_size = 0, own_rate = 0, own_size = 0;
  for (int64_t j = 0; j < 400; ++j) {
    mean_rate += weights[j].rate / 400;
    mean_size += weights[j].size / 400;
    if (weights[j].rate > -1.5 && weights[j].size > 3 && j % 2) chosen.push_back(j);
  }
  ASSERT_GT(chosen.size(), 20u);
  for (const int64_t j : chosen) {
    own_rate += weights[j].rate / static_cast<double>(chosen.size());
    own_size += weights[j].size / static_cast<double>(chosen.size());
  }
  ASSERT_GT(own_rate - mean_rate, 0.5);
  ASSERT_GT(own_size - mean_size, 0.5);
  std::set<std::vector<int64_t>> draws;
  MatchQuality quality;
  for (uint64_t seed = 0; seed < 20; ++seed) {
    const std::vector<int64_t> partners = matched_latents(weights, chosen, seed);
    ASSERT_EQ(partners.size(), chosen.size());
    std::set<int64_t> all(chosen.begin(), chosen.end());
    all.insert(partners.begin(), partners.end());
    EXPECT_EQ(all.size(), 2 * chosen.size()) << "others, and none twice";
    EXPECT_EQ(matched_latents(weights, chosen, seed), partners);
    draws.insert(partners);
    quality.add(weights, chosen, partners);
  }
  EXPECT_EQ(draws.size(), 20u);
  EXPECT_EQ(quality.drawn, quality.chosen);
  EXPECT_NEAR(quality.rate / static_cast<double>(quality.drawn), 0, 0.25);
  EXPECT_NEAR(quality.size / static_cast<double>(quality.drawn), 0, 0.25);
}

}  // namespace
}  // namespace assay::eval
