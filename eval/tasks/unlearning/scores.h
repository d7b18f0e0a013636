// The numbers, scores, checks and details of the unlearning task, drawn from its runs.
#pragma once

#include <optional>
#include <vector>

#include "eval/tasks/task.h"
#include "eval/tasks/unlearning/run.h"

namespace assay::eval::unlearning {

/// Fills result. `runs`: one an evaluation seed, the same methods in the same order. `seen`
/// [dictionaries]: did it train on the activations of their texts?
void report_unlearning(const Session& session, const std::vector<RunOutcome>& runs,
                       const std::vector<std::optional<bool>>& seen, TaskResult& result);

}  // namespace assay::eval::unlearning
