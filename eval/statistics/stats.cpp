#include "eval/statistics/stats.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <map>
#include <numeric>
#include <optional>
#include <tuple>

#include "kernels/base/error.h"
#include "kernels/base/random.h"

namespace assay::eval {
namespace {

void check_finite(std::span<const double> values, const char* what) {
  for (std::size_t i = 0; i < values.size(); ++i) {
    if (!std::isfinite(values[i]))
      throw Error(fmt::format("{}: entry {} is {}, expected a number", what, i, values[i]));
  }
}

void check_resamples(int64_t resamples) {
  if (resamples < 1)
    throw Error(fmt::format("bootstrap: resamples is {}, expected at least 1", resamples));
}

double sorted_quantile(const std::vector<double>& sorted, double q) {
  const double at = q * static_cast<double>(sorted.size() - 1);
  const std::size_t low = static_cast<std::size_t>(at), high = std::min(low + 1, sorted.size() - 1);
  return sorted[low] + (at - static_cast<double>(low)) * (sorted[high] - sorted[low]);
}

Estimate summarise(double value, std::vector<double> draws, int64_t n) {
  int64_t below = 0, above = 0;
  for (double draw : draws) {
    below += draw <= 0;
    above += draw >= 0;
  }
  const double count = static_cast<double>(draws.size());
  std::sort(draws.begin(), draws.end());
  Estimate result;
  result.value = value;
  result.interval = {sorted_quantile(draws, .025), sorted_quantile(draws, .975)};
  result.p =
      std::min(1.0, 2.0 * (1.0 + static_cast<double>(std::min(below, above))) / (count + 1.0));
  result.n = n;
  return result;
}

/// Replaces one of a cell's three keys by its place among the key's distinct values.
struct Factor {
  std::vector<std::size_t> level_of_cell;
  std::size_t levels = 0;
  std::vector<int64_t> counts;

  Factor(std::span<const Cell> cells, int64_t Cell::*key) {
    std::map<int64_t, std::size_t> places;
    for (const Cell& cell : cells) places.emplace(cell.*key, 0);
    for (auto& [value, place] : places) place = levels++;
    for (const Cell& cell : cells) level_of_cell.push_back(places.at(cell.*key));
    counts.resize(levels);
  }

  void resample(Rng& rng) {
    std::fill(counts.begin(), counts.end(), 0);
    for (std::size_t i = 0; i < levels; ++i) ++counts[rng.below(levels)];
  }
  int64_t count(std::size_t cell) const { return counts[level_of_cell[cell]]; }
};

using Key = std::tuple<int64_t, int64_t, int64_t>;

std::map<Key, double> by_key(std::span<const Cell> cells, const char* what) {
  std::map<Key, double> result;
  for (const Cell& cell : cells) {
    if (!std::isfinite(cell.value)) {
      throw Error(fmt::format("{}: task {}, dictionary {}, seed {} is {}, expected a number", what,
                              cell.task, cell.dictionary, cell.seed, cell.value));
    }
    if (!result.emplace(Key{cell.task, cell.dictionary, cell.seed}, cell.value).second) {
      throw Error(fmt::format("{}: task {}, dictionary {}, seed {} is there twice", what, cell.task,
                              cell.dictionary, cell.seed));
    }
  }
  return result;
}

const double* find_partner(const std::map<Key, double>& cells, const Key& key) {
  auto found = cells.find(key);
  if (found == cells.end())
    found = cells.find({std::get<0>(key), kAnyDictionary, std::get<2>(key)});
  return found == cells.end() ? nullptr : &found->second;
}

/// a − b over a's cells; a cell of b with a dictionary needs a partner in a as well.
std::vector<Cell> differences(const std::map<Key, double>& a, const std::map<Key, double>& b) {
  std::vector<Cell> result;
  for (const auto& [key, value] : a) {
    const auto [task, dictionary, seed] = key;
    const double* partner = find_partner(b, key);
    if (!partner) {
      throw Error(fmt::format(
          "paired difference: task {}, dictionary {}, seed {} has no partner in the other arm",
          task, dictionary, seed));
    }
    result.push_back({task, dictionary, seed, value - *partner});
  }
  return result;
}

bool all_any(const std::map<Key, double>& cells) {
  return std::all_of(cells.begin(), cells.end(),
                     [](const auto& c) { return std::get<1>(c.first) == kAnyDictionary; });
}

/// Every task and seed of `cells` occurs in `other` (with whatever dictionary).
void check_covered(const std::map<Key, double>& cells, const std::map<Key, double>& other) {
  std::map<std::pair<int64_t, int64_t>, bool> met;
  for (const auto& [key, value] : other) met[{std::get<0>(key), std::get<2>(key)}] = true;
  for (const auto& [key, value] : cells) {
    if (!met.count({std::get<0>(key), std::get<2>(key)})) {
      throw Error(fmt::format("paired difference: task {}, seed {} is in one arm only",
                              std::get<0>(key), std::get<2>(key)));
    }
  }
}

}  // namespace

double auroc(std::span<const double> scores, Labels labels) {
  if (scores.size() != labels.size()) {
    throw Error(fmt::format("AUROC: {} scores for {} labels", scores.size(), labels.size()));
  }
  for (std::size_t i = 0; i < scores.size(); ++i) {
    if (labels[i] > 1)
      throw Error(fmt::format("AUROC: label {} is {}, expected 0 or 1", i, labels[i]));
    if (std::isnan(scores[i])) throw Error(fmt::format("AUROC: score {} is NaN", i));
  }
  std::vector<std::size_t> order(scores.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::sort(order.begin(), order.end(),
            [&](std::size_t a, std::size_t b) { return scores[a] < scores[b]; });
  int64_t positives = 0, negatives = 0, twice_wins = 0;
  for (std::size_t i = 0; i < order.size();) {
    int64_t tied[2] = {0, 0};
    const double score = scores[order[i]];
    for (; i < order.size() && scores[order[i]] == score; ++i) ++tied[labels[order[i]]];
    twice_wins += tied[1] * (2 * negatives + tied[0]);
    negatives += tied[0];
    positives += tied[1];
  }
  if (!positives || !negatives) {
    throw Error(fmt::format("AUROC: {} positives and {} negatives, expected some of both",
                            positives, negatives));
  }
  return static_cast<double>(twice_wins) /
         (2.0 * static_cast<double>(positives) * static_cast<double>(negatives));
}

double auroc(std::span<const float> scores, Labels labels) {
  return auroc(std::vector<double>(scores.begin(), scores.end()), labels);
}

double accuracy(std::span<const double> scores, Labels labels, double threshold) {
  if (scores.size() != labels.size() || scores.empty()) {
    throw Error(fmt::format("accuracy: {} scores for {} labels", scores.size(), labels.size()));
  }
  int64_t right = 0;
  for (std::size_t i = 0; i < scores.size(); ++i)
    right += (scores[i] > threshold) == (labels[i] != 0);
  return static_cast<double>(right) / static_cast<double>(scores.size());
}

Estimate bootstrap_mean(std::span<const double> values, uint64_t seed, int64_t resamples) {
  return bootstrap_ratio(values, std::vector<double>(values.size(), 1.0), seed, resamples);
}

Estimate bootstrap_ratio(std::span<const double> numerators, std::span<const double> denominators,
                         uint64_t seed, int64_t resamples) {
  check_resamples(resamples);
  if (numerators.size() != denominators.size() || numerators.empty()) {
    throw Error(fmt::format(
        "bootstrap: {} numerators for {} denominators, expected as many and at least one",
        numerators.size(), denominators.size()));
  }
  check_finite(numerators, "bootstrap: numerators");
  check_finite(denominators, "bootstrap: denominators");
  const double bottom = std::accumulate(denominators.begin(), denominators.end(), 0.0);
  if (bottom <= 0)
    throw Error(fmt::format("bootstrap: the denominators sum to {}, expected more than 0", bottom));
  const double value = std::accumulate(numerators.begin(), numerators.end(), 0.0) / bottom;
  Rng rng(seed);
  std::vector<double> draws;
  while (std::ssize(draws) < resamples) {
    double top = 0, base = 0;
    for (std::size_t i = 0; i < numerators.size(); ++i) {
      const std::size_t pick = rng.below(numerators.size());
      top += numerators[pick];
      base += denominators[pick];
    }
    if (base > 0) draws.push_back(top / base);
  }
  return summarise(value, std::move(draws), std::ssize(numerators));
}

Estimate hierarchical_bootstrap(std::span<const Cell> cells, uint64_t seed, int64_t resamples) {
  check_resamples(resamples);
  if (cells.empty()) throw Error("hierarchical bootstrap: no cells");
  by_key(cells, "hierarchical bootstrap");
  std::vector<Cell> ordered(cells.begin(), cells.end());
  std::sort(ordered.begin(), ordered.end(), [](const Cell& a, const Cell& b) {
    return Key{a.task, a.dictionary, a.seed} < Key{b.task, b.dictionary, b.seed};
  });
  double total = 0;
  for (const Cell& cell : ordered) total += cell.value;
  Factor tasks(ordered, &Cell::task), dictionaries(ordered, &Cell::dictionary),
      seeds(ordered, &Cell::seed);
  Rng rng(seed);
  std::vector<double> draws;
  while (std::ssize(draws) < resamples) {
    for (Factor* factor : {&tasks, &dictionaries, &seeds}) factor->resample(rng);
    double sum = 0;
    int64_t weight = 0;
    for (std::size_t i = 0; i < ordered.size(); ++i) {
      const int64_t count = tasks.count(i) * dictionaries.count(i) * seeds.count(i);
      sum += static_cast<double>(count) * ordered[i].value;
      weight += count;
    }
    // With cells missing, a resample may meet none of those present.
    if (weight) draws.push_back(sum / static_cast<double>(weight));
  }
  return summarise(total / static_cast<double>(ordered.size()), std::move(draws),
                   std::ssize(ordered));
}

Estimate paired_difference(std::span<const Cell> a, std::span<const Cell> b, uint64_t seed,
                           int64_t resamples) {
  const auto left = by_key(a, "paired difference, first arm"),
             right = by_key(b, "paired difference, second arm");
  check_covered(right, left);
  std::vector<Cell> cells;
  if (all_any(left) && !all_any(right)) {
    cells = differences(right, left);
    for (Cell& cell : cells) cell.value = -cell.value;
  } else {
    cells = differences(left, right);
    if (!all_any(right)) differences(right, left);
  }
  return hierarchical_bootstrap(cells, seed, resamples);
}

Estimate group_difference(std::span<const Cell> a, std::span<const Cell> b, uint64_t seed,
                          int64_t resamples) {
  check_resamples(resamples);
  if (a.empty() || b.empty()) throw Error("group difference: a group without cells");
  const auto left = by_key(a, "group difference, first group"),
             right = by_key(b, "group difference, second group");
  check_covered(left, right);
  check_covered(right, left);
  std::vector<Cell> cells;
  for (const auto* side : {&left, &right})
    for (const auto& [key, value] : *side)
      cells.push_back({std::get<0>(key), std::get<1>(key), std::get<2>(key), value});
  const std::size_t middle = left.size();
  Factor tasks(cells, &Cell::task), seeds(cells, &Cell::seed);
  const std::span<const Cell> all = cells;
  Factor first(all.first(middle), &Cell::dictionary),
      second(all.subspan(middle), &Cell::dictionary);
  const auto draw = [&](const auto& weight_of) {
    double sum[2] = {}, weight[2] = {};
    for (std::size_t i = 0; i < cells.size(); ++i) {
      const double count = weight_of(i);
      sum[i >= middle] += count * cells[i].value;
      weight[i >= middle] += count;
    }
    return weight[0] > 0 && weight[1] > 0 ? std::optional(sum[0] / weight[0] - sum[1] / weight[1])
                                          : std::nullopt;
  };
  Rng rng(seed);
  std::vector<double> draws;
  while (std::ssize(draws) < resamples) {
    for (Factor* factor : {&tasks, &seeds, &first, &second}) factor->resample(rng);
    const auto value = draw([&](std::size_t i) {
      const int64_t dictionary = i < middle ? first.count(i) : second.count(i - middle);
      return static_cast<double>(tasks.count(i) * seeds.count(i) * dictionary);
    });
    if (value) draws.push_back(*value);
  }
  return summarise(*draw([](std::size_t) { return 1.0; }), std::move(draws), std::ssize(cells));
}

double student_t975(int64_t df) {
  static constexpr double kTable[] = {12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306,
                                      2.262,  2.228, 2.201, 2.179, 2.160, 2.145, 2.131, 2.120,
                                      2.110,  2.101, 2.093, 2.086, 2.080, 2.074, 2.069, 2.064,
                                      2.060,  2.056, 2.052, 2.048, 2.045, 2.042};
  if (df < 1) throw Error(fmt::format("Student's t with {} degrees of freedom", df));
  if (df <= std::ssize(kTable)) return kTable[df - 1];
  // Cornish-Fisher: z + (z³ + z)/(4 df) + (5z⁵ + 16z³ + 3z)/(96 df²).
  constexpr double z = 1.959963984540054;
  const double n = static_cast<double>(df);
  return z + (z * z * z + z) / (4 * n) +
         (5 * std::pow(z, 5) + 16 * z * z * z + 3 * z) / (96 * n * n);
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

Interval wilson(int64_t successes, int64_t n) {
  if (n < 1 || successes < 0 || successes > n) {
    throw Error(fmt::format("Wilson interval: {} successes of {}", successes, n));
  }
  constexpr double z = 1.959963984540054;
  const double count = static_cast<double>(n), share = static_cast<double>(successes) / count;
  const double centre = (share + z * z / (2 * count)) / (1 + z * z / count);
  const double half = z / (1 + z * z / count) *
                      std::sqrt(share * (1 - share) / count + z * z / (4 * count * count));
  return {successes == 0 ? 0.0 : centre - half, successes == n ? 1.0 : centre + half};
}

double quantile(std::vector<double> values, double q) {
  if (values.empty() || !(q >= 0 && q <= 1)) {
    throw Error(fmt::format("quantile {} of {} values: expected q in [0, 1] and at least one value",
                            q, values.size()));
  }
  check_finite(values, "quantile: values");
  std::sort(values.begin(), values.end());
  return sorted_quantile(values, q);
}

}  // namespace assay::eval
