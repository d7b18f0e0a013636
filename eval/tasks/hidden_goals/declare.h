// The words and figures of tasks that name what is hidden, planted goals and artefacts alike.
#pragma once

#include <string>
#include <vector>

#include "eval/tasks/hidden_goals/numbers.h"

namespace assay::eval::hidden_goals {

/// "strength 0.40": the name of a strength's part; strength in percent.
std::string strength_part(int64_t strength);

/// Words for all of `arms`, and the figures of report_goals' numbers.
void declare_goals(const GoalSetup& setup, const std::vector<GoalArm>& arms, TaskResult& result);

}  // namespace assay::eval::hidden_goals
