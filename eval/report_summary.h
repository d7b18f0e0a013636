// What stands in the summary, one row a dictionary. Withheld and failed tasks give no numbers here.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "eval/results.h"

namespace assay::eval::report {

/// The best arm of a dictionary beside the best arm that needs none. Both are named after the fact, on the OOD test.
struct Verdict {
  Number arm, baseline;
  bool baseline_wins = false;
  std::optional<Number> difference;  ///< of exactly these two arms (dictionary − baseline), else of the headline arm
  std::string sentence;
};

struct SummaryRow {
  DictionaryEntry entry;
  std::optional<Number> fvu, l0, dead, auroc;
  std::optional<Number> minus_null, minus_neurons;  ///< paired differences of the headline arm
  std::optional<Verdict> verdict;                   ///< of trained dictionaries
};

struct Summary {
  std::string headline;  ///< the arm that scores a dictionary, "latents_top4"; "" without probing
  std::vector<SummaryRow> rows;
  std::vector<std::string> withheld;  ///< a sentence a task that is left out
};

Summary summarise(const Results& results);

/// The task of that name whatever its status, or nullptr.
const TaskResult* find_task(const Results& results, const std::string& name);
/// "latents_top4" where the task has it, else its first latents_topK; "" where it has none.
std::string headline_arm(const TaskResult& task);

}  // namespace assay::eval::report
