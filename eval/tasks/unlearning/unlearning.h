// Task "unlearning": can a class be hidden at the dictionary's layer from probes on the model's
// output, without hurting the other classes, and does clamping latents do it better than steering,
// erasure or fine-tuning? docs/tasks/unlearning.md has the protocol.
//
// Numbers, each a mean over classes: "forget_drop" (parts frozen, few_shot_N, all_labels; for gated
// methods few_shot_N_padded), "retain_damage" and "neighbour_damage" (points of accuracy),
// "retain_cosine", "neighbour_cosine", "edited_share", "frontier_drop" and "frontier_damage" a
// budget, "probe_auroc" of untouched texts, and "auroc_permuted_labels" (the label null). Method
// "oracle" (forget texts exchanged for retained ones) is the ceiling; "mean_ablation" shows what
// special tokens and lengths alone still tell. All are read at equal damage (frontier.h) on
// retained texts of damage_parts (sample.h); the caveat names arms whose point lies on an edge of
// their grid.
// Score: forget_drop, part few_shot_<headline_labels>; a dictionary's headline arm is "latents".
// Checks: every label null is compatible with .5 (Holm, .01); the oracle is on top.
// details: operating_points, grid (tuning), per_class, neighbours, random_latents, differences,
// left_out, upper_half.
#pragma once

#include "eval/tasks/task.h"

namespace assay::eval::unlearning {

extern const TaskEntry kUnlearning;

}  // namespace assay::eval::unlearning
