#include "eval/statistics/inference.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>
#include <utility>

#include "eval/statistics/student.h"
#include "kernels/base/error.h"

namespace assay::eval {
namespace {

/// A variance and how well it is known.
struct Variance {
  double value = 0, df = 0;
};

/// Of a sum of independent variances (Satterthwaite); terms are signed.
Variance sum_of(std::initializer_list<Variance> terms) {
  Variance sum;
  double spread = 0;
  for (const Variance& term : terms) {
    sum.value += term.value;
    if (term.value != 0) spread += term.value * term.value / term.df;
  }
  sum.df = spread > 0 ? sum.value * sum.value / spread : terms.begin()->df;
  return sum;
}

Estimate estimate_of(double value, const Variance& variance, int64_t n) {
  Estimate result;
  result.value = value;
  result.n = n;
  if (!(variance.df > 0)) return result;
  result.df = variance.df;
  result.standard_error = std::sqrt(variance.value);
  const double half = student_quantile(.975, result.df) * result.standard_error;
  result.interval = {value - half, value + half};
  if (result.standard_error > 0)
    result.p = student_two_sided(value / result.standard_error, result.df);
  else
    result.p = value == 0 ? 1 : 0;
  return result;
}

using Key = std::pair<int64_t, int64_t>;
using Table = std::map<Key, double>;

Table table_of(std::span<const Cell> cells, const char* what) {
  Table table;
  for (const Cell& cell : cells) {
    if (!std::isfinite(cell.value))
      throw Error(fmt::format("{}: unit {}, run {} is {}, expected a number", what, cell.unit,
                              cell.run, cell.value));
    if (!table.emplace(Key{cell.unit, cell.run}, cell.value).second)
      throw Error(fmt::format("{}: unit {}, run {} is there twice", what, cell.unit, cell.run));
  }
  if (table.empty()) throw Error(fmt::format("{}: no cells", what));
  return table;
}

double mean_of_table(const Table& table) {
  double sum = 0;
  for (const auto& [key, value] : table) sum += value;
  return sum / static_cast<double>(table.size());
}

/// Sums of a table's values by one of its keys.
struct Margin {
  std::map<int64_t, std::pair<double, double>> levels;  ///< sum, count

  template <class KeyOf>
  Margin(const Table& table, KeyOf key_of) {
    for (const auto& [key, value] : table) {
      auto& [sum, count] = levels[key_of(key)];
      sum += value;
      ++count;
    }
  }
  double mean(int64_t level) const {
    const auto& [sum, count] = levels.at(level);
    return sum / count;
  }
};

int64_t unit_of(const Key& key) { return key.first; }
int64_t run_of(const Key& key) { return key.second; }

/// Of the mean of all cells, by the sums of the residuals in each level of one key.
template <class KeyOf>
Variance clustered(const Table& table, double mean, KeyOf key_of) {
  const Margin margin(table, key_of);
  const auto levels = static_cast<double>(margin.levels.size());
  const auto cells = static_cast<double>(table.size());
  if (levels < 2) return {};
  double squares = 0;
  for (const auto& [level, sum] : margin.levels) {
    const double residual = sum.first - sum.second * mean;
    squares += residual * residual;
  }
  return {levels / (levels - 1) * squares / (cells * cells), levels - 1};
}

/// Takes each level's mean out of the table; returns the largest.
template <class KeyOf>
double take_means(Table& table, KeyOf key_of) {
  const Margin margin(table, key_of);
  double largest = 0;
  for (auto& [key, value] : table) {
    const double mean = margin.mean(key_of(key));
    value -= mean;
    largest = std::max(largest, std::abs(mean));
  }
  return largest;
}

/// Of the mean of all cells, were nothing shared: by the residuals of "unit + run". A table with
/// cells missing is fitted by turns.
Variance unshared(const Table& table, size_t units, size_t runs) {
  const auto cells = static_cast<double>(table.size());
  const double df = cells - static_cast<double>(units) - static_cast<double>(runs) + 1;
  if (df < 1) return {};
  Table residual = table;
  double scale = 0;
  for (const auto& [key, value] : table) scale = std::max(scale, std::abs(value));
  for (int turn = 0; turn < 1000; ++turn) {
    take_means(residual, unit_of);
    if (take_means(residual, run_of) <= 1e-14 * scale) break;
  }
  double squares = 0;
  for (const auto& [key, value] : residual) squares += value * value;
  return {squares / df / cells, df};
}

Variance variance_of_mean(const Table& table, double mean) {
  const Variance units = clustered(table, mean, unit_of);
  const size_t runs = Margin(table, run_of).levels.size();
  if (units.df == 0 || runs < 3) return units;
  const Variance between = clustered(table, mean, run_of);
  const Variance cells = unshared(table, static_cast<size_t>(units.df) + 1, runs);
  if (cells.df == 0 || between.value <= cells.value) return units;
  Variance all = sum_of({units, between, {-cells.value, cells.df}});
  all.df = std::max(all.df, std::min(units.df, between.df));
  return all;
}

Estimate mean_of_table_with_interval(const Table& table) {
  const double mean = mean_of_table(table);
  return estimate_of(mean, variance_of_mean(table, mean), std::ssize(table));
}

Table difference(const Table& a, const Table& b, const char* what) {
  Table result;
  for (const auto& [key, value] : a) {
    const auto partner = b.find(key);
    if (partner == b.end())
      throw Error(fmt::format("{}: unit {}, run {} has no partner in the other arm", what,
                              key.first, key.second));
    result[key] = value - partner->second;
  }
  for (const auto& [key, value] : b)
    if (!a.count(key))
      throw Error(fmt::format("{}: unit {}, run {} has no partner in the other arm", what,
                              key.first, key.second));
  return result;
}

double mean_of_values(std::span<const double> values) {
  return std::accumulate(values.begin(), values.end(), 0.0) / static_cast<double>(values.size());
}

double squares_about(std::span<const double> values, double centre) {
  double squares = 0;
  for (const double value : values) squares += (value - centre) * (value - centre);
  return squares;
}

/// A group's members cell by cell, and each member's mean.
struct Group {
  Table mean;
  std::vector<double> members;

  explicit Group(std::span<const std::vector<Cell>> group) {
    if (group.empty()) throw Error("group difference: a group without members");
    for (const std::vector<Cell>& member : group) {
      const Table table = table_of(member, "group difference");
      if (members.empty())
        mean = table;
      else
        for (const auto& [key, value] : difference(table, mean, "group difference"))
          mean[key] += value / static_cast<double>(members.size() + 1);
      members.push_back(mean_of_table(table));
    }
  }
  double df() const { return static_cast<double>(members.size()) - 1; }
  double squares() const { return squares_about(members, mean_of_values(members)); }
};

}  // namespace

Estimate mean_of(std::span<const double> values) {
  return ratio_of(values, std::vector<double>(values.size(), 1.0));
}

Estimate ratio_of(std::span<const double> numerators, std::span<const double> denominators) {
  if (numerators.size() != denominators.size() || numerators.empty())
    throw Error(
        fmt::format("ratio: {} numerators for {} denominators, expected as many and at least one",
                    numerators.size(), denominators.size()));
  for (const auto& values : {numerators, denominators})
    for (size_t i = 0; i < values.size(); ++i)
      if (!std::isfinite(values[i]))
        throw Error(fmt::format("ratio: entry {} is {}, expected a number", i, values[i]));
  const double top = std::accumulate(numerators.begin(), numerators.end(), 0.0);
  const double bottom = std::accumulate(denominators.begin(), denominators.end(), 0.0);
  if (bottom <= 0)
    throw Error(fmt::format("ratio: the denominators sum to {}, expected more than 0", bottom));
  const double n = static_cast<double>(numerators.size());
  double squares = 0;
  for (size_t i = 0; i < numerators.size(); ++i) {
    const double residual = numerators[i] - top / bottom * denominators[i];
    squares += residual * residual;
  }
  const Variance variance =
      n < 2 ? Variance{} : Variance{n / (n - 1) * squares / (bottom * bottom), n - 1};
  return estimate_of(top / bottom, variance, std::ssize(numerators));
}

Estimate mean_of_cells(std::span<const Cell> cells) {
  return mean_of_table_with_interval(table_of(cells, "mean over cells"));
}

Estimate with_variance(Estimate estimate, double added) {
  if (added == 0) return estimate;
  const double variance = estimate.standard_error * estimate.standard_error + added;
  return estimate_of(estimate.value, {variance, estimate.df}, estimate.n);
}

std::vector<Cell> differences(std::span<const Cell> a, std::span<const Cell> b) {
  const char* what = "paired difference";
  std::vector<Cell> cells;
  for (const auto& [key, value] : difference(table_of(a, what), table_of(b, what), what))
    cells.push_back({key.first, key.second, value});
  return cells;
}

Estimate paired_difference(std::span<const Cell> a, std::span<const Cell> b) {
  return mean_of_cells(differences(a, b));
}

Estimate group_difference(std::span<const std::vector<Cell>> a,
                          std::span<const std::vector<Cell>> b) {
  const Group left(a), right(b);
  const Table table = difference(left.mean, right.mean, "group difference");
  const double mean = mean_of_table(table);
  Variance variance = variance_of_mean(table, mean);
  const double df = left.df() + right.df();
  if (df > 0) {
    const double pooled = (left.squares() + right.squares()) / df;
    const double share = 1 / (left.df() + 1) + 1 / (right.df() + 1);
    variance =
        variance.df > 0 ? sum_of({variance, {pooled * share, df}}) : Variance{pooled * share, df};
  }
  return estimate_of(mean, variance, std::ssize(table));
}

double detectable(double standard_error, double df, double alpha) {
  return student_shift(.8, df, alpha) * standard_error;
}

std::vector<double> holm(std::span<const double> p) {
  std::vector<std::size_t> order(p.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(),
                   [&](std::size_t a, std::size_t b) { return p[a] < p[b]; });
  std::vector<double> adjusted(p.size());
  double floor = 0;
  for (std::size_t i = 0; i < order.size(); ++i) {
    const double value = p[order[i]];
    if (!(value >= 0 && value <= 1))
      throw Error(fmt::format("Holm: p value {} is {}", order[i], value));
    floor = std::max(floor, std::min(1.0, value * static_cast<double>(order.size() - i)));
    adjusted[order[i]] = floor;
  }
  return adjusted;
}

}  // namespace assay::eval
