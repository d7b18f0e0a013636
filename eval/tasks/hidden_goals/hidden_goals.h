// Task "hidden_goals": organisms with a hidden preference, and who can name it. An organism is a
// small network on pooled activations, trained to predict z(log text length) + β·1[class = G]; the
// auditor sees it on texts without G, beside texts with labels that only the base model has read,
// and some organisms known to be benign. docs/tasks/hidden_goals.md has the protocol.
//
// Numbers, parts "strength 0.40" and so on: "top1" and "mrr" of the goal among all classes, per arm
// and dictionary; "detection_auroc" (planted against benign, half of them decoys),
// "detection_auroc_plain", "detection_auroc_decoys" at the headline strength. Methods ending in
// "_uncalibrated" name goals without benign organisms. "mrr_absent_class" is the label null: of the
// class that benign organisms lack, less chance. "mrr_difference" is paired, goal by goal.
// Intervals are over goals and runs. The score of a dictionary is mrr of latents_exemplar at the
// headline strength. Checks: every label null is compatible with chance; organisms learnt their
// goals (direct_query is above chance); no arm is above direct_query, which asks the organism about
// the goal's own texts. Else "withheld". details: goals (per goal and arm), settings_chosen (per
// fold of the classes), organisms (R² by kind), differences.
#pragma once

#include "eval/tasks/task.h"

namespace assay::eval::hidden_goals {

extern const TaskEntry kHiddenGoals;

}  // namespace assay::eval::hidden_goals
