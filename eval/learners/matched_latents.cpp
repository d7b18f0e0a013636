#include "eval/learners/matched_latents.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "kernels/base/random.h"

namespace assay::eval {
namespace {

constexpr size_t kNear = 8;  // partners that one is drawn from

double apart(const LatentWeight& a, const LatentWeight& b) {
  return std::pow(a.rate - b.rate, 2) + std::pow(a.size - b.size, 2);
}

/// The free latents nearest to `like`, the nearest first.
std::vector<int64_t> nearest_free(std::span<const LatentWeight> weights,
                                  const std::vector<char>& taken, const LatentWeight& like) {
  std::vector<std::pair<double, int64_t>> best;
  for (size_t j = 0; j < weights.size(); ++j) {
    if (taken[j]) continue;
    const std::pair<double, int64_t> own{apart(weights[j], like), static_cast<int64_t>(j)};
    if (best.size() == kNear && own >= best.back()) continue;
    best.insert(std::upper_bound(best.begin(), best.end(), own), own);
    if (best.size() > kNear) best.pop_back();
  }
  std::vector<int64_t> latents;
  for (const auto& [distance, j] : best) latents.push_back(j);
  return latents;
}

}  // namespace

LatentWeight latent_weight(double rate, double mean_active, std::span<const float> decoder_row) {
  const double norm = std::sqrt(
      std::inner_product(decoder_row.begin(), decoder_row.end(), decoder_row.begin(), 0.0));
  if (rate > 0 && mean_active > 0 && norm > 0)
    return {std::log(rate), std::log(mean_active * norm)};
  constexpr double kNone = -std::numeric_limits<double>::infinity();
  return {kNone, kNone};
}

std::vector<LatentWeight> latent_weights(ConstMatrix codes, std::span<const float> decoder) {
  const int64_t m = codes.cols, d = m > 0 ? std::ssize(decoder) / m : 0;
  std::vector<double> active(static_cast<size_t>(m)), sum(active.size());
  for (int64_t i = 0; i < codes.rows; ++i)
    for (int64_t j = 0; j < m; ++j) {
      const double z = codes.row(i)[j];
      active[j] += z != 0;
      sum[j] += std::abs(z);
    }
  std::vector<LatentWeight> weights;
  for (int64_t j = 0; j < m; ++j)
    weights.push_back(latent_weight(
        active[j] / static_cast<double>(codes.rows), active[j] > 0 ? sum[j] / active[j] : 0,
        decoder.subspan(static_cast<size_t>(j * d), static_cast<size_t>(d))));
  return weights;
}

std::vector<int64_t> matched_latents(std::span<const LatentWeight> weights,
                                     std::span<const int64_t> chosen, uint64_t seed) {
  std::vector<char> taken(weights.size());
  for (size_t j = 0; j < weights.size(); ++j) taken[j] = !std::isfinite(weights[j].size);
  for (const int64_t j : chosen) taken[j] = 1;
  Rng rng(seed);
  std::vector<int64_t> partners(chosen.size(), kUnmatched);
  for (size_t i = 0; i < chosen.size(); ++i) {
    const LatentWeight& own = weights[chosen[i]];
    if (!std::isfinite(own.size)) continue;
    const std::vector<int64_t> near = nearest_free(weights, taken, own);
    if (near.empty()) break;
    partners[i] = near[rng.below(near.size())];
    taken[partners[i]] = 1;
  }
  return partners;
}

void MatchQuality::add(std::span<const LatentWeight> weights, std::span<const int64_t> of,
                       std::span<const int64_t> partners) {
  chosen += std::ssize(of);
  for (size_t i = 0; i < of.size(); ++i) {
    if (partners[i] == kUnmatched) continue;
    ++drawn;
    rate += weights[partners[i]].rate - weights[of[i]].rate;
    size += weights[partners[i]].size - weights[of[i]].size;
  }
}

void MatchQuality::add(const MatchQuality& other) {
  chosen += other.chosen;
  drawn += other.drawn;
  rate += other.rate;
  size += other.size;
}

}  // namespace assay::eval
