#include "eval/statistics/auroc_interval.h"

#include <algorithm>
#include <cmath>

#include "eval/statistics/stats.h"
#include "eval/statistics/student.h"
#include "kernels/base/error.h"

namespace assay::eval {
namespace {

/// A unit's share of the value, and its mean component.
struct Unit {
  double weight = 0, sum = 0;  // sum: of weight · component
  void add(double own, double component) {
    weight += own;
    sum += own * component;
  }
};

void check(double score) {
  if (std::isnan(score)) throw Error("AUROC: a score is NaN");
}

/// The components of all units. Weights of either side sum to 1.
struct Components {
  std::map<int64_t, Unit> positive;
  std::vector<Unit> negative;
};

/// Returns the stratum's AUROC.
double add_stratum(const ScoreStratum& stratum, double share, Components& components) {
  double positives = 0, all_wins = 0;
  for (const auto& [unit, scores] : stratum.positive)
    positives += static_cast<double>(scores.size());
  const auto negatives = static_cast<double>(stratum.negative.size());
  if (positives == 0 || negatives == 0)
    throw Error("AUROC: a stratum without positives or without negatives");
  for (const double score : stratum.negative) check(score);
  std::vector<double> outscored(stratum.negative.size());
  for (const auto& [unit, scores] : stratum.positive)
    for (const double score : scores) {
      check(score);
      double wins = 0;
      for (size_t j = 0; j < outscored.size(); ++j) {
        const double other = stratum.negative[j];
        const double win = score > other ? 1 : score == other ? 0.5 : 0;
        wins += win;
        outscored[j] += win / positives;
      }
      all_wins += wins;
      components.positive[unit].add(share / positives, wins / negatives);
    }
  for (const double component : outscored) {
    components.negative.emplace_back();
    components.negative.back().add(share / negatives, component);
  }
  return all_wins / (positives * negatives);
}

/// Variance of Σ weight · component, units independent and of one distribution about `mean`.
struct Side {
  double variance = 0, freedom = 0;

  void add(const Unit& unit, double mean) {
    const double difference = unit.sum - unit.weight * mean;
    variance += difference * difference;
    freedom += 1;
  }
  void finish() {
    freedom -= 1;
    variance *= (freedom + 1) / freedom;
  }
};

Interval logit_interval(double value, double error, double t) {
  const double centre = std::log(value / (1 - value)), half = t * error / (value * (1 - value));
  return {1 / (1 + std::exp(half - centre)), 1 / (1 + std::exp(-half - centre))};
}

std::optional<Interval> interval_of(double value, const Components& components) {
  const int64_t units = std::min(std::ssize(components.positive), std::ssize(components.negative));
  if (units < 2) return std::nullopt;
  if (value < 1e-12 || value > 1 - 1e-12) return wilson(value < 0.5 ? 0 : units, units);
  Side positive, negative;
  for (const auto& [unit, own] : components.positive) positive.add(own, value);
  for (const Unit& own : components.negative) negative.add(own, value);
  positive.finish();
  negative.finish();
  const double variance = positive.variance + negative.variance;
  if (variance < 1e-20) return Interval{value, value};  // all scores are tied
  const double freedom = variance * variance /
                         (positive.variance * positive.variance / positive.freedom +
                          negative.variance * negative.variance / negative.freedom);
  return logit_interval(value, std::sqrt(variance), student_quantile(0.975, freedom));
}

}  // namespace

StratifiedAuroc stratified_auroc(std::span<const ScoreStratum> strata) {
  if (strata.empty()) throw Error("AUROC: no strata");
  Components components;
  StratifiedAuroc result;
  for (const ScoreStratum& stratum : strata) {
    const auto count = static_cast<double>(strata.size());
    result.value += add_stratum(stratum, 1 / count, components) / count;
    for (const auto& [unit, scores] : stratum.positive) result.n += std::ssize(scores);
    result.n += std::ssize(stratum.negative);
  }
  result.interval = interval_of(result.value, components);
  return result;
}

}  // namespace assay::eval
