// What an evaluation will be able to tell, said before it is run.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

#include "eval/statistics/power.h"

namespace assay::eval {

struct Comparison;

/// A table of scores that a task is going to fill.
struct PlannedTable {
  std::string metric, part;
  std::string noun;  ///< what its units are, in the plural: "classes"
  int64_t units = 0, runs = 0;
  std::string task = {};
};

/// How much the difference between a dictionary and the best baseline varied in a table.
struct TableSpread {
  std::string task, metric, part;
  Spread spread;
};

/// Of the tables as published for the quickstart (docs/measurements/2026-verdicts.md).
const std::vector<TableSpread>& published_spreads();

/// Of the tables of an earlier evaluation, the mean over its trained dictionaries.
std::vector<TableSpread> spreads_of(const Comparison& comparison);

/// What a planned table will tell: differences from the best baseline, at .05 after Holm over all
/// verdicts, in four of five such evaluations.
struct Power {
  PlannedTable table;
  bool measured = false;             ///< false: how much this table varies is not known
  std::optional<double> detectable;  ///< nothing for fewer than kUnitsToTell units
  /// units that differences of .05 and of .02 take with so many runs; nothing if 10,000 are too few
  std::optional<int64_t> units_for_05, units_for_02;
};

/// Verdicts of so many trained dictionaries: one in each table that has kUnitsToTell units or more.
int64_t verdicts_of(const std::vector<PlannedTable>& tables, int64_t dictionaries);

/// Of all tables; their verdicts are one family.
std::vector<Power> power_of(const std::vector<PlannedTable>& tables,
                            const std::vector<TableSpread>& spreads, int64_t dictionaries);

/// "15 classes × 4 runs tell 0.041 apart; 0.05 takes 11, 0.02 takes 52", for people.
std::string power_text(const Power& power);

/// A line a table, under two that say what it is about.
std::string power_table(const std::vector<Power>& powers, int64_t dictionaries);

/// An array, one object a table; what is not known is null.
nlohmann::json to_json(const std::vector<Power>& powers);

}  // namespace assay::eval
