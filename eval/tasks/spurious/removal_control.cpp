#include "eval/tasks/spurious/removal_control.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "kernels/base/random.h"

namespace assay::eval::spurious {
namespace {

constexpr size_t kNear = 8;  // partners that one is drawn from

double apart(const LatentWeight& a, const LatentWeight& b) {
  return std::pow(a.rate - b.rate, 2) + std::pow(a.size - b.size, 2);
}

/// The free latents nearest to `like`, the nearest first.
std::vector<int64_t> nearest_free(const std::vector<LatentWeight>& weights,
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

std::vector<LatentWeight> latent_weights(const RemovalSpace& space) {
  const int64_t m = space.train.cols, d = m > 0 ? std::ssize(space.decoder) / m : 0;
  std::vector<double> active(static_cast<size_t>(m)), sum(active.size());
  for (int64_t i = 0; i < space.train.rows; ++i) {
    for (int64_t j = 0; j < m; ++j) {
      const double z = space.train.values[i * m + j];
      active[j] += z != 0;
      sum[j] += std::abs(z);
    }
  }
  std::vector<LatentWeight> weights;
  for (int64_t j = 0; j < m; ++j) {
    const auto row = space.decoder.begin() + j * d;
    const double norm = std::sqrt(std::inner_product(row, row + d, row, 0.0));
    weights.push_back({std::log(active[j] / static_cast<double>(space.train.rows)),
                       std::log(sum[j] / active[j] * norm)});
    if (active[j] == 0 || norm == 0)
      weights.back() = {-std::numeric_limits<double>::infinity(),
                        -std::numeric_limits<double>::infinity()};
  }
  return weights;
}

std::vector<int64_t> draw_partners(const std::vector<LatentWeight>& weights,
                                   const std::vector<int64_t>& chosen, uint64_t seed) {
  std::vector<char> taken(weights.size());
  for (size_t j = 0; j < weights.size(); ++j) taken[j] = !std::isfinite(weights[j].size);
  for (const int64_t j : chosen) taken[j] = 1;
  Rng rng(seed);
  std::vector<int64_t> partners;
  for (const int64_t j : chosen) {
    const std::vector<int64_t> near = nearest_free(weights, taken, weights[j]);
    if (near.empty()) break;
    partners.push_back(near[rng.below(near.size())]);
    taken[partners.back()] = 1;
  }
  return partners;
}

void MatchQuality::add(const std::vector<LatentWeight>& weights, const std::vector<int64_t>& of,
                       const std::vector<int64_t>& partners) {
  chosen += std::ssize(of);
  drawn += std::ssize(partners);
  for (size_t i = 0; i < partners.size(); ++i) {
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

}  // namespace assay::eval::spurious
