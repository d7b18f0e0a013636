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

struct SummaryRow {
  DictionaryEntry entry;
  std::optional<Number> fvu, l0, dead;
  std::vector<SummaryScore> scores;  ///< one a table of the comparison
};

struct Summary {
  std::vector<SummaryRow> rows;
  std::vector<std::string> withheld;  ///< a sentence a task that is left out
};

/// `comparison` must outlive the summary.
Summary summarise(const Results& results, const Comparison& comparison);

/// "Out-of-distribution probing: AUROC, ood".
std::string score_name(const std::string& task, const std::string& metric, const std::string& part);
std::string table_name(const ScoreTable& table);
/// The task of that name whatever its status, or nullptr.
const TaskResult* find_task(const Results& results, const std::string& name);
/// "latents_top4" where the task has it, else its first latents_topK; "" where it has none.
std::string headline_arm(const TaskResult& task);

}  // namespace assay::eval::report
