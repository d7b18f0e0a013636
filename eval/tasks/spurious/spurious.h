// Task "spurious": a probe learns a class on texts where the class goes with a format (positives
// are definitions, negatives examples), and is tested where it does not. Which fix, learnt from
// other texts, takes the format out and leaves the class in? docs/tasks/spurious.md has the
// protocol.
//
// Numbers, parts "share 1.00" and so on: "anti_auroc" (positives in the other format against
// negatives in the usual one) and "within_auroc" (mean of the two formats apart, so that destroyed
// signal shows), per fix, strength and dictionary
// ("inlp_64", "latents_drop_256"; "dense" and "latents" without a fix). At the headline share also
// each fix at the strength chosen on the other fold of the classes by the mean of both ("inlp",
// "latents_drop"; no fix is one of the choices), "anti_auroc_permuted_labels" (the label null) and
// "anti_auroc_difference". Intervals resample classes and runs. The score of a dictionary is
// anti_auroc of latents_drop at the headline share, strength chosen.
// Checks: label nulls are compatible with .5; no fix is above the ceiling, dense probes trained at
// share .50; else "withheld". details: strengths_chosen (per fold of the classes), differences,
// ceiling.
#pragma once

#include "eval/tasks/task.h"

namespace assay::eval::spurious {

extern const TaskEntry kSpurious;

}  // namespace assay::eval::spurious
