// Task "saebench_probing": sparse probing by SAEBench 0.6.0's definition, for comparison with
// published tables. On the training and ID test texts of OOD probing, tests cut to as many
// negatives as positives: the k latents of largest
// |difference of means| on the training texts (no deviation in it), logistic regression on them as
// they are (L2, C = 1), test accuracy. "dense" is the same on all activations. In distribution
// only, without controls of its own: it ranks nothing here.
//
// Numbers: "saebench_accuracy", methods "latents_top1", "latents_top2", "latents_top5" per
// dictionary, "dense" without one; part "id"; means over classes × runs. details["per_cell"]:
// {class, run, method, dictionary, accuracy}. experiments/compare_saebench.py recomputes them with
// the package.
#pragma once

#include "eval/tasks/task.h"

namespace assay::eval::probing {

extern const TaskEntry kSaebenchProbing;

}  // namespace assay::eval::probing
