// Task "ood_probing": probes that learn classes on one domain (definitions), tested on unseen
// documents of the same domain (ID) and of another (OOD: usage examples), on latents, on dense
// baselines and on controls. docs/tasks/ood_probing.md has the protocol.
//
// Numbers: "auroc" (parts id, ood) per arm and dictionary, "auroc_permuted_labels" (the label
// null), "auroc_difference" (paired, cell by cell). Values are means over classes × runs; intervals
// are over classes and runs (inference.h). quiver_dense and quiver_latents take, probe by probe,
// the arm that is best on a fifth of the training texts, among the baselines, and among baselines
// and latents. dense_lr_pooled, neurons_topK_pooled and latents_topK_pooled (K = headline_k) take
// the pooling of tokens to texts (mean, max or last) that is best on the same fifth; dense_lr_max
// pools by the maximum. latents_searched and activations_searched choose reading, pooling and size
// (search.h); all other arms pool by the mean.
//
// The score of a dictionary is auroc, part ood, method latents_top<headline_k>.
//
// Check: every label null's mean is compatible with .5 (p by Holm over the nulls, at .01),
// else "withheld".
//
// details: classes (texts per part), per_class (class, method, dictionary, id, ood), differences
// (p, Holm's p), searched (what each searched probe chose), numbers_read (active latents of a
// text), left_out.
#pragma once

#include "eval/tasks/task.h"

namespace assay::eval::probing {

extern const TaskEntry kOodProbing;
/// Task "probe_themes": the same arms and numbers under a second shift, from one kind of word to
/// another (ThemesConfig).
extern const TaskEntry kProbeThemes;

}  // namespace assay::eval::probing
