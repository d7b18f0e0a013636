// The numbers, checks and details of the hidden-goal task.
#pragma once

#include <optional>
#include <vector>

#include "eval/hidden_goals_scores.h"
#include "eval/tasks.h"

namespace assay::eval {

/// Everything but details["organisms"]. `seen[i]`: did dictionary i train on the concept texts.
void report_goals(const Session& session, const GoalPlan& plan, const GoalCases& cases,
                  const std::vector<GoalArm>& arms, const std::vector<std::optional<bool>>& seen, TaskResult& result);

/// details["organisms"]: how many of each kind and strength, and their mean and least R² on unseen texts. fits
/// [organisms].
void describe_organisms(const GoalCases& cases, const std::vector<double>& fits, TaskResult& result);

}  // namespace assay::eval
