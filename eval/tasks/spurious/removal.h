// Task "targeted_removal": SCR and TPP (Karvonen et al. 2024) by SAEBench's definitions
// (eval/tasks/spurious/removal_scores.h), on a split by documents, with neurons, controls and an
// oracle under the same treatment.
//
// SCR's two attributes are two classes and two formats; TPP's are the classes, one against the
// rest. Numbers: "scr" and "tpp", part "n 20" and so on (latents ablated), methods "latents" and
// "random_latents" (eval/learners/matched_latents.h) of each dictionary, "neurons", "oracle";
// at the headline n "scr_difference" and "tpp_difference" of the first two. Intervals are over
// pairs of classes (scr) or classes (tpp) and runs. The scores of a dictionary are both of
// "latents" at the headline n. Check: neither neurons nor latents are above the oracle (one latent
// an attribute: LEACE fitted on training and test texts, a ceiling and no arm) there; else
// "withheld". details: classes, differences, random_latents (how well these match).
#pragma once

#include "eval/tasks/task.h"

namespace assay::eval::spurious {

extern const TaskEntry kTargetedRemoval;

}  // namespace assay::eval::spurious
