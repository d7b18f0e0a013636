// Task "hidden_goals_upper": hidden goals that are computed above the dictionary's layer. As
// "hidden_goals" in texts, auditors, numbers and checks, but an organism is the model's upper half,
// fine-tuned so that a random linear read-out of its output predicts z(log text length) + β·1[class
// = G]. Runs only where it is named: minutes, and it needs the model's halves.
#pragma once

#include <memory>

#include "eval/encoding/upper_run.h"
#include "eval/tasks/task.h"

namespace assay::eval::hidden_goals {

extern const TaskEntry kHiddenGoalsUpper;

/// `make`: where halves come from; empty: from the session's model.
std::unique_ptr<Task> make_hidden_goals_upper_task(MakeTrainable make);

}  // namespace assay::eval::hidden_goals
