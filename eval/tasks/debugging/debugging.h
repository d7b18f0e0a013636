// Task "debugging": a data set for a class has an artefact that positives share and negatives lack
// (a question mark, a capital, length, format). Do the features that separate its classes name the
// artefact, and is nothing named where nothing was planted? docs/tasks/debugging.md has the
// protocol.
//
// Numbers, part "strength 1.00": "top1" and "mrr" of the planted artefact among the bank,
// "detection_auroc" (planted against clean data sets), "mrr_absent_class" (the label null),
// "mrr_difference". The score of a dictionary is mrr of "latents". "rates", the difference of the
// artefacts' own rates, is the ceiling: it needs the artefact to be known. Checks and details as in
// eval/tasks/hidden_goals/hidden_goals.h.
#pragma once

#include "eval/tasks/task.h"

namespace assay::eval::debugging {

extern const TaskEntry kDebugging;

}  // namespace assay::eval::debugging
