// The numbers, scores, checks and details of the unlearning task, drawn from its runs.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "eval/tasks/task.h"
#include "eval/tasks/unlearning/run.h"

namespace assay::eval::unlearning {

/// One evaluation seed, and whether each dictionary trained on the activations of its texts.
struct UnlearningRecord {
  uint64_t seed = 0;
  RunOutcome outcome;
};

/// Fills result. Every run has the same methods in the same order. `seen` [dictionaries].
void report_unlearning(const Session& session, const std::vector<UnlearningRecord>& runs,
                       const std::vector<std::optional<bool>>& seen, TaskResult& result);

}  // namespace assay::eval::unlearning
