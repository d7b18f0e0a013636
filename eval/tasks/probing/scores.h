// The table of scores of the OOD probing task, and the numbers drawn from it.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "eval/results/families.h"
#include "eval/results/results.h"
#include "eval/statistics/stats.h"
#include "eval/tasks/probing/arms.h"
#include "eval/tasks/task.h"

namespace assay::eval::probing {

/// Who made a score: an arm on one of the session's dictionaries, or on none, with true or permuted
/// labels.
struct ArmKey {
  std::string method;
  std::optional<size_t> dictionary;
  bool permuted = false;
  bool operator==(const ArmKey&) const = default;
};

/// All cells of one arm.
struct ArmCells {
  ArmKey key;
  std::vector<Cell> id, ood;
};

class ScoreTable {
 public:
  /// Arms keep the order in which they first came.
  void add(const ArmKey& key, const ProbingCell& cell, const ArmScore& score);
  const std::vector<ArmCells>& arms() const { return arms_; }
  /// Throws Error where no such arm was scored.
  const ArmCells& at(const ArmKey& key) const;

 private:
  std::vector<ArmCells> arms_;
};

/// Numbers "auroc" and "auroc_permuted_labels", scores, and details["per_class"]. Returns the label
/// nulls, for add_null_checks. `seen[i]`: did dictionary i train on the test texts.
std::vector<NullTest> report_numbers(const Session& session, const ProbingPlan& plan,
                                     const ScoreTable& table,
                                     const std::vector<std::optional<bool>>& seen,
                                     TaskResult& result);
/// The same, and the checks of the label nulls, which are all that the task has.
void report_scores(const Session& session, const ProbingPlan& plan, const ScoreTable& table,
                   const std::vector<std::optional<bool>>& seen, TaskResult& result);

/// a − b out of distribution, as the number "auroc_difference" named `method`, in `family`.
void add_difference(const Session& session, const ScoreTable& table, const ArmKey& a,
                    const ArmKey& b, const std::string& method,
                    const std::vector<std::optional<bool>>& seen, DifferenceFamily& family,
                    TaskResult& result);

/// Numbers "auroc_difference" of every trained dictionary, and details["differences"].
void report_differences(const Session& session, const ScoreTable& table,
                        const std::vector<std::optional<bool>>& seen, TaskResult& result);

}  // namespace assay::eval::probing
