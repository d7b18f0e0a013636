// What stands in the summary, one row a dictionary. Withheld and failed tasks give no numbers here.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "eval/results/compare.h"
#include "eval/results/results.h"

namespace assay::eval::report {

/// A dictionary's place in one table of scores.
struct SummaryScore {
  const ScoreTable* table = nullptr;
  const Card* card = nullptr;  ///< null where this task did not score the dictionary
};

/// A metric that its task wants in the summary (MetricEntry::summary_part).
struct SummaryColumn {
  const TaskResult* task = nullptr;
  std::string metric, part, label, part_label;
  std::optional<double> chance;
};

struct SummaryRow {
  DictionaryEntry entry;
  std::vector<std::optional<Number>> values;  ///< one a column
  std::vector<SummaryScore> scores;           ///< one a table of the comparison
};

struct Summary {
  std::vector<SummaryColumn> columns;
  std::vector<SummaryRow> rows;
  /// a sentence per task or dictionary that is left out, and per warning of a training
  std::vector<std::string> withheld;
};

/// `results` and `comparison` must outlive the summary.
Summary summarise(const Results& results, const Comparison& comparison);

}  // namespace assay::eval::report
