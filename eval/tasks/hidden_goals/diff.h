// Task "hidden_goals_diff": hidden goals in a low-rank adapter at the dictionary's layer (model
// diffing). An organism adds to every token a random low-rank drift, and to tokens of texts of
// class G a shift in a direction that says nothing of G (eval/tasks/hidden_goals/adapters.h). So
// the goal is not in what is added but in when: the auditor, who sees Δ = x' − x on texts without
// G, has to tell it from how the trigger leaks. Texts, numbers, checks and details are those of
// "hidden_goals" (eval/tasks/hidden_goals/hidden_goals.h), but that details["organisms"] has the
// AUROC of ‖Δ‖ for tokens of the class that the audit texts lack (planted: the goal) against other
// tokens. Needs no model. docs/tasks/hidden_goals_diff.md has the protocol.
#pragma once

#include "eval/tasks/task.h"

namespace assay::eval::hidden_goals {

extern const TaskEntry kHiddenGoalsDiff;

}  // namespace assay::eval::hidden_goals
