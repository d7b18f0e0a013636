// A table of a dictionary and of baselines, three arms each, as a results file holds it.
#pragma once

#include <fmt/format.h>

#include <numeric>
#include <string>
#include <vector>

#include "eval/results/compare_choice.h"
#include "eval/results/results.h"
#include "kernels/base/random.h"

namespace assay::eval::test {

inline constexpr int64_t kCloseUnits = 15, kCloseRuns = 4;
/// What an arm's units vary by that other arms' do not, as a standard deviation.
inline constexpr double kOwnUnits = .03;

/// What every arm shares in a cell: units differ, and runs a little.
inline std::vector<Cell> shared_cells(Rng& rng) {
  std::vector<double> runs(kCloseRuns);
  for (double& run : runs) run = .05 * rng.normal();
  std::vector<Cell> cells;
  for (int64_t unit = 0; unit < kCloseUnits; ++unit) {
    const double base = .5 + .1 * rng.normal();
    for (int64_t run = 0; run < kCloseRuns; ++run)
      cells.push_back({unit, run, base + runs[static_cast<size_t>(run)]});
  }
  return cells;
}

/// An arm of its own: it is better for some units than for others.
inline std::vector<Cell> arm_of(std::vector<Cell> cells, double ahead, Rng& rng) {
  double unit = 0;
  for (Cell& cell : cells) {
    if (cell.run == 0) unit = kOwnUnits * rng.normal();
    cell.value += ahead + unit + .02 * rng.normal();
  }
  return cells;
}

/// The first of each three arms is `lead` better than the others, and the dictionaries' are
/// `ahead`.
inline Results close_arms(const std::vector<DictionaryEntry>& dictionaries, double ahead,
                          double lead, Rng& rng) {
  Results results;
  results.dictionaries = dictionaries;
  TaskResult task;
  task.name = "proxy";
  task.status = "ok";
  const std::vector<Cell> shared = shared_cells(rng);
  const auto add = [&](const std::string& method, const std::string& dictionary, bool headline,
                       double value) {
    task.scores.push_back(
        {"auroc", "ood", method, dictionary, headline, true, arm_of(shared, value, rng)});
  };
  for (int i = 0; i < 3; ++i) add(fmt::format("dense_{}", i), "", false, i == 0 ? lead : 0);
  for (const DictionaryEntry& dictionary : dictionaries)
    for (int i = 0; i < 3; ++i)
      add(fmt::format("latents_{}", i), dictionary.name, i == 0, ahead + (i == 0 ? lead : 0));
  results.tasks = {task};
  return results;
}

inline DictionaryEntry trained_entry(const std::string& name) {
  DictionaryEntry result;
  result.name = result.hash = name;
  return result;
}

/// p of the difference of chosen arms, were they fixed beforehand.
inline double p_without_choice(const Results& results) {
  using namespace compare_parts;
  std::vector<Arm> arms;
  for (const Score& score : results.tasks[0].scores)
    arms.push_back({score.dictionary, score.method, "", false, score.cells});
  std::vector<const Arm*> own, baselines;
  for (const Arm& arm : arms) (arm.dictionary.empty() ? baselines : own).push_back(&arm);
  std::vector<int64_t> units(kCloseUnits);
  std::iota(units.begin(), units.end(), int64_t{0});
  return paired_difference(choose_on_other_units(own, units)->cells,
                           choose_on_other_units(baselines, units)->cells)
      .p;
}

}  // namespace assay::eval::test
