// Task "spurious": a probe learns a class on texts where the class goes with a format (positives
// are definitions, negatives examples), and is tested where it does not. Which fix, learnt from
// other texts, takes the format out and leaves the class in? docs/tasks/spurious.md has the
// protocol.
//
// Numbers, parts "share 1.00" and so on: "anti_auroc" (positives in the other format against
// negatives in the usual one), "within_auroc" (mean of the two formats apart, so that destroyed
// signal shows) and "both_auroc", their mean, per fix, strength and dictionary
// ("inlp_64", "latents_drop_256"; "dense" and "latents" without a fix). At the headline share also
// each fix at the strength chosen on the other fold of the classes by both_auroc ("inlp",
// "latents_drop"; no fix is one of the choices), "both_auroc_permuted_labels" (the label null) and
// "both_auroc_difference". Intervals are over classes and runs. The score of a dictionary is
// both_auroc of latents_drop at the headline share, strength chosen: anti_auroc alone would favour
// a constant predictor. Grids go on where a choice is their last point (scoring.h); what leaves
// nothing to read is refused (grids.h).
// Checks: label nulls are compatible with .5; no fix is above the ceiling, dense probes trained at
// share .50; else "withheld". details: strengths_chosen (per fold of the classes, and whether it is
// the last of the grid), differences, classes.
#pragma once

#include "eval/tasks/task.h"

namespace assay::eval::spurious {

extern const TaskEntry kSpurious;

}  // namespace assay::eval::spurious
