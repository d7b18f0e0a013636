#include "eval/results/compare_choice.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <span>

#include "kernels/base/random.h"

namespace assay::eval::compare_parts {
namespace {

/// The place of a unit among all; even places are one half, odd ones the other.
size_t place_of(const std::vector<int64_t>& units, int64_t unit) {
  return static_cast<size_t>(std::lower_bound(units.begin(), units.end(), unit) - units.begin());
}

size_t half_of(size_t place) { return place % 2; }

/// An arm's values summed by unit.
using Sums = std::vector<double>;

Sums sums_of(const Arm& arm, const std::vector<int64_t>& units) {
  Sums sums(units.size(), 0);
  for (const Cell& cell : arm.cells) sums[place_of(units, cell.unit)] += cell.value;
  return sums;
}

std::vector<Sums> sums_of(const std::vector<const Arm*>& arms, const std::vector<int64_t>& units) {
  std::vector<Sums> sums;
  for (const Arm* arm : arms) sums.push_back(sums_of(*arm, units));
  return sums;
}

/// Over the units of one half, each as often as `weights` says. All arms have the same cells, so
/// that sums order them as means do.
double half_sum(const Sums& sums, std::span<const double> weights, size_t half) {
  double sum = 0;
  for (size_t u = half; u < sums.size(); u += 2) sum += weights[u] * sums[u];
  return sum;
}

/// The arm that is best on the half, the first of those that are.
size_t best_on(const std::vector<Sums>& arms, std::span<const double> weights, size_t half) {
  size_t best = 0;
  double highest = half_sum(arms[0], weights, half);
  for (size_t arm = 1; arm < arms.size(); ++arm) {
    const double sum = half_sum(arms[arm], weights, half);
    if (sum <= highest) continue;
    best = arm;
    highest = sum;
  }
  return best;
}

/// The arms that the halves are scored by: each the best of the other half.
using Choice = std::array<size_t, 2>;

Choice choose(const std::vector<Sums>& arms, std::span<const double> weights) {
  return {best_on(arms, weights, 1), best_on(arms, weights, 0)};
}

/// One side of a difference; a side without arms is 0.
class Side {
 public:
  Side(const std::vector<const Arm*>& arms, const std::vector<int64_t>& units)
      : arms_(sums_of(arms, units)) {
    if (!arms_.empty()) observed_ = choose(arms_, Sums(units.size(), 1));
  }
  bool has_choice() const { return arms_.size() > 1; }
  double fixed(std::span<const double> weights) const { return total(observed_, weights); }
  double chosen_again(std::span<const double> weights) const {
    return total(arms_.empty() ? observed_ : choose(arms_, weights), weights);
  }

 private:
  double total(const Choice& choice, std::span<const double> weights) const {
    if (arms_.empty()) return 0;
    return half_sum(arms_[choice[0]], weights, 0) + half_sum(arms_[choice[1]], weights, 1);
  }

  std::vector<Sums> arms_;
  Choice observed_{};
};

/// How often each unit is drawn when each half's units are drawn with replacement.
std::vector<double> resampled(size_t units, Rng& rng) {
  std::vector<double> weights(units, 0);
  for (const size_t half : {size_t{0}, size_t{1}}) {
    const size_t count = (units + 1 - half) / 2;
    for (size_t draw = 0; draw < count; ++draw)
      ++weights[2 * static_cast<size_t>(rng.below(count)) + half];
  }
  return weights;
}

double variance(const std::vector<double>& values) {
  double mean = 0, squares = 0;
  for (const double value : values) mean += value / static_cast<double>(values.size());
  for (const double value : values) squares += (value - mean) * (value - mean);
  return squares / static_cast<double>(values.size() - 1);
}

}  // namespace

std::optional<Chosen> choose_on_other_units(const std::vector<const Arm*>& arms,
                                            const std::vector<int64_t>& units) {
  if (arms.empty() || units.size() < 2) return std::nullopt;
  const Choice choice = choose(sums_of(arms, units), Sums(units.size(), 1));
  Chosen chosen;
  std::vector<std::string> methods, labels;
  for (const size_t half : {size_t{0}, size_t{1}}) {
    const Arm& arm = *arms[choice[half]];
    if (half == 0 || choice[1] != choice[0]) {
      methods.push_back(arm.method);
      labels.push_back(arm.label);
    }
    for (const Cell& cell : arm.cells)
      if (half_of(place_of(units, cell.unit)) == half) chosen.cells.push_back(cell);
  }
  chosen.methods = fmt::format("{}", fmt::join(methods, " / "));
  chosen.labels = fmt::format("{}", fmt::join(labels, " / "));
  return chosen;
}

double variance_of_choice(const std::vector<const Arm*>& a, const std::vector<const Arm*>& b,
                          const std::vector<int64_t>& units) {
  constexpr int kResamples = 1000;
  const Side left(a, units), right(b, units);
  if (units.size() < 4 || (!left.has_choice() && !right.has_choice())) return 0;
  Rng rng(1);
  std::vector<double> fixed, again;
  for (int round = 0; round < kResamples; ++round) {
    const std::vector<double> weights = resampled(units.size(), rng);
    fixed.push_back(left.fixed(weights) - right.fixed(weights));
    again.push_back(left.chosen_again(weights) - right.chosen_again(weights));
  }
  // A resample of h units varies by (h − 1)/h of what h units do.
  const double half = static_cast<double>(units.size()) / 2;
  const auto cells = static_cast<double>(a.empty() ? b[0]->cells.size() : a[0]->cells.size());
  const double added = (variance(again) - variance(fixed)) * half / (half - 1);
  return std::max(0.0, added) / (cells * cells);
}

}  // namespace assay::eval::compare_parts
