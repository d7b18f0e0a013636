// Task "hidden_goals_text": language models that may hide a word (a secret they hint at, a
// trigger): can an auditor name it, and notice it, from the activations and words of each on the
// same prompts, with a dictionary of their base model? The data set is made of organisms
// (eval/tasks/hidden_goals/text_data.h); docs/tasks/hidden_goals_text.md has the protocol.
//
// Numbers, part "strength 1.00", checks and details as in eval/tasks/hidden_goals/hidden_goals.h;
// every arm also
// "_uncalibrated": against the base model's reading in place of the mean of the calibration
// organisms. The score of a dictionary is mrr of "latents_exemplar".
#pragma once

#include "eval/tasks/task.h"

namespace assay::eval::hidden_goals {

extern const TaskEntry kHiddenGoalsText;

}  // namespace assay::eval::hidden_goals
