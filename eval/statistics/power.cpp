#include "eval/statistics/power.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <utility>

namespace assay::eval {
namespace {

struct Sum {
  double total = 0, count = 0;
  void add(double value) {
    total += value;
    ++count;
  }
  double mean() const { return total / count; }
};

double variance_of_means(const std::map<int64_t, Sum>& sums) {
  const auto count = static_cast<double>(sums.size());
  double mean = 0, squares = 0;
  for (const auto& [key, sum] : sums) mean += sum.mean() / count;
  for (const auto& [key, sum] : sums) squares += (sum.mean() - mean) * (sum.mean() - mean);
  return squares / (count - 1);
}

}  // namespace

std::optional<Spread> spread_of(std::span<const Cell> cells, double choice) {
  std::map<int64_t, Sum> units, runs;
  for (const Cell& cell : cells) {
    units[cell.unit].add(cell.value);
    runs[cell.run].add(cell.value);
  }
  const auto u = static_cast<double>(units.size()), r = static_cast<double>(runs.size());
  if (u < 2) return std::nullopt;
  const double by_unit = variance_of_means(units);
  if (r < 2 || std::ssize(cells) != std::ssize(units) * std::ssize(runs))
    return Spread{by_unit, 0, 0, u * choice};
  double mean = 0, squares = 0;
  for (const auto& [unit, sum] : units) mean += sum.mean() / u;
  for (const Cell& cell : cells) {
    const double rest = cell.value - units[cell.unit].mean() - runs[cell.run].mean() + mean;
    squares += rest * rest;
  }
  const double by_cell = squares / ((u - 1) * (r - 1));
  return Spread{std::max(0.0, by_unit - by_cell / r),
                std::max(0.0, variance_of_means(runs) - by_cell / u), by_cell, u * choice};
}

std::optional<double> detectable(const Spread& spread, int64_t units, int64_t runs, double alpha) {
  if (units < 2 || runs < 1) return std::nullopt;
  const auto u = static_cast<double>(units), r = static_cast<double>(runs);
  const double choice = spread.choice / u;
  // What the mean squares of the two-way layout will be, over u·r.
  const double by_unit = (r * spread.units + spread.cells) / (u * r);
  if (runs < 3 || spread.runs == 0) return detectable(std::sqrt(by_unit + choice), u - 1, alpha);
  const double by_run = (u * spread.runs + spread.cells) / (u * r), cells = spread.cells / (u * r);
  const double sum = by_unit + by_run - cells;
  const double df = sum * sum /
                    (by_unit * by_unit / (u - 1) + by_run * by_run / (r - 1) +
                     cells * cells / ((u - 1) * (r - 1)));
  return detectable(std::sqrt(sum + choice), std::max(df, std::min(u, r) - 1), alpha);
}

std::optional<int64_t> units_needed(const Spread& spread, int64_t runs, double difference,
                                    double alpha) {
  constexpr int64_t kMost = 10'000;
  const auto enough = [&](int64_t units) {
    return *detectable(spread, units, runs, alpha) <= difference;
  };
  if (runs < 1 || !enough(kMost)) return std::nullopt;
  int64_t few = kUnitsToTell - 1, many = kMost;
  while (many - few > 1) {
    const int64_t middle = few + (many - few) / 2;
    (enough(middle) ? many : few) = middle;
  }
  return many;
}

}  // namespace assay::eval
