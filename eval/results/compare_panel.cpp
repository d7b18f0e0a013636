#include <fmt/format.h>

#include <algorithm>

#include "eval/results/compare_parts.h"

namespace assay::eval::compare_parts {
namespace {

std::string use_of(const ScoreTable& table) {
  const Reliability& r = table.reliability;
  if (!table.leading_controls.empty())
    return fmt::format("nothing: a control that learnt nothing, {}, leads the best baseline",
                       table.leading_controls.front());
  if (table.units < kUnitsToTell)
    return fmt::format("describes: {} units; it takes {} to tell anything apart", table.units,
                       kUnitsToTell);
  if (!r.null_gap) return "describes: no control stands beside it, so it ranks nothing";
  if (!r.separates_null)
    return "describes: it does not tell every dictionary from its control, so it ranks nothing";
  const auto enough = std::count_if(
      table.settings.begin(), table.settings.end(),
      [](const Setting& setting) { return std::ssize(setting.members) >= kRankingSeeds; });
  if (enough >= 2) return "ranks settings";
  return fmt::format("compares these dictionaries; settings are ranked from {} training seeds on",
                     kRankingSeeds);
}

}  // namespace

MetricState metric_state(const TaskResult& task, const Score& score, const ScoreTable* table) {
  MetricState state;
  state.task = task.name;
  state.title = table_title(task, score);
  state.metric = score.metric;
  state.part = score.part;
  state.checks = std::ssize(task.checks);
  state.checks_passed = std::count_if(task.checks.begin(), task.checks.end(),
                                      [](const Check& check) { return check.passed; });
  if (!table) {
    state.use = "nothing: " + task.reason;
    return state;
  }
  const Reliability& r = table->reliability;
  state.controls = !r.null_gap ? "none ran" : r.separates_null ? "told apart" : "not told apart";
  const bool follows = !r.truth || r.truth->interval[0] > 0;
  state.passed = r.separates_null && follows && table->leading_controls.empty();
  state.use = use_of(*table);
  if (!follows) state.use += "; on planted dictionaries it does not follow the truth";
  return state;
}

}  // namespace assay::eval::compare_parts
