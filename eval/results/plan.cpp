#include "eval/results/plan.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "eval/results/compare.h"
#include "eval/results/text.h"

namespace assay::eval {
namespace {

std::string needed_text(double difference, const std::optional<int64_t>& units) {
  return units ? fmt::format("{:g} takes {}", difference, count_text(*units))
               : fmt::format("{:g} takes more runs", difference);
}

template <class T>
nlohmann::json or_null(const std::optional<T>& value) {
  return value ? nlohmann::json(*value) : nlohmann::json();
}

}  // namespace

const std::vector<TableSpread>& published_spreads() {
  // variance_of_… in the reliability rows of the results that docs/measurements/2026-verdicts.md
  // is about.
  static const std::vector<TableSpread> kMeasured = {
      {"ood_probing", "auroc", "ood", {0.000112, 5.29e-06, 0.000194, 0.000215}},
      {"debugging", "mrr", "strength 1.00", {0.113, 0, 0, 0.0027}},
      {"spurious", "both_auroc", "share 1.00", {0.000852, 9.45e-05, 0.00219, 0.000692}},
      {"targeted_removal", "tpp", "n 20", {0.00171, 0, 0.000508, 0}},
      {"targeted_removal", "scr", "n 20", {0.00259, 0.00773, 0.0299, 0}},
      {"hidden_goals", "mrr", "strength 0.40", {0.0159, 0.00894, 0.0973, 0.00631}},
      {"hidden_goals_diff", "mrr", "strength 0.10", {0, 0.000277, 0.131, 0.0686}},
      {"probe_themes", "auroc", "ood", {5.15e-05, 1.6e-05, 9.96e-05, 0.000674}},
      {"probe_regimes", "auroc", "scarcity", {5.42e-05, 3.47e-05, 0.000123, 0.000191}},
      {"probe_regimes", "auroc", "imbalance", {1.3e-05, 0, 0.000108, 0.000219}},
      {"probe_regimes", "auroc", "noise", {0.000123, 9.16e-07, 0.000342, 0.000234}},
      {"unlearning", "forget_drop", "few_shot_8", {0.00676, 0, 0, 0.00418}},
  };
  return kMeasured;
}

std::vector<TableSpread> spreads_of(const Comparison& comparison) {
  std::vector<TableSpread> spreads;
  for (const ScoreTable& table : comparison.tables)
    if (table.spread) spreads.push_back({table.task, table.metric, table.part, *table.spread});
  return spreads;
}

int64_t verdicts_of(const std::vector<PlannedTable>& tables, int64_t dictionaries) {
  return dictionaries * std::count_if(tables.begin(), tables.end(), [](const auto& table) {
           return table.units >= kUnitsToTell;
         });
}

std::vector<Power> power_of(const std::vector<PlannedTable>& tables,
                            const std::vector<TableSpread>& spreads, int64_t dictionaries) {
  const auto family = static_cast<double>(std::max<int64_t>(1, verdicts_of(tables, dictionaries)));
  const double alpha = kAlpha / family;
  std::vector<Power> powers;
  for (const PlannedTable& table : tables) {
    Power power{table, false, {}, {}, {}};
    for (const TableSpread& known : spreads) {
      if (known.task != table.task || known.metric != table.metric || known.part != table.part)
        continue;
      power.measured = true;
      if (table.units >= kUnitsToTell)
        power.detectable = detectable(known.spread, table.units, table.runs, alpha);
      power.units_for_05 = units_needed(known.spread, table.runs, .05, alpha);
      power.units_for_02 = units_needed(known.spread, table.runs, .02, alpha);
    }
    powers.push_back(power);
  }
  return powers;
}

std::string power_text(const Power& power) {
  const PlannedTable& table = power.table;
  std::string text = fmt::format("{} {} × {} run{} ", table.units, table.noun, table.runs,
                                 table.runs == 1 ? "" : "s");
  if (table.units < kUnitsToTell)
    text += fmt::format("describe, for it takes {} to tell", kUnitsToTell);
  else if (power.detectable)
    text += fmt::format("tell {} apart", value_text(*power.detectable));
  if (!power.measured)
    return text + (table.units < kUnitsToTell ? "; " : "tell what is not known: ") +
           "how much they vary was never measured";
  return fmt::format("{}; {}, {}", text, needed_text(.05, power.units_for_05),
                     needed_text(.02, power.units_for_02));
}

std::string power_table(const std::vector<Power>& powers, int64_t dictionaries) {
  std::vector<PlannedTable> tables;
  for (const Power& power : powers) tables.push_back(power.table);
  std::string text = fmt::format(
      "What would be told apart from the best baseline in four of five such evaluations:\n"
      "at .05 after Holm over {} verdicts, and how many units a difference of .05 or .02 takes.\n",
      verdicts_of(tables, dictionaries));
  for (const Power& power : powers)
    text +=
        fmt::format("{:<20} {:<24} {}\n", power.table.task,
                    power.table.metric + (power.table.part.empty() ? "" : ", " + power.table.part),
                    power_text(power));
  return text;
}

nlohmann::json to_json(const std::vector<Power>& powers) {
  nlohmann::json rows = nlohmann::json::array();
  for (const Power& power : powers)
    rows.push_back({{"task", power.table.task},
                    {"metric", power.table.metric},
                    {"part", power.table.part},
                    {"units", power.table.units},
                    {"unit", power.table.noun},
                    {"runs", power.table.runs},
                    {"detectable", or_null(power.detectable)},
                    {"units_for_05", or_null(power.units_for_05)},
                    {"units_for_02", or_null(power.units_for_02)}});
  return rows;
}

}  // namespace assay::eval
