// Task "attention_probing": does a probe that learns where in a text to look (softmax attention
// over tokens, eval/learners/attention_probe.h) beat the same probe on the mean over tokens, on
// activations and on latents? Classes, documents and texts are ood_probing's, fewer of them.
// docs/tasks/attention_probing.md has the protocol.
//
// Arms: "dense_lr" and "dense_attention" on activations, "latents_all" and "latents_attention" on
// the latents that are active on the training texts; the first of each pair pools by the mean.
// Numbers, checks and details as ood_probing's; "auroc_difference" of latents_attention and the
// others, and of dense_attention and dense_lr. The label null is that of both attention arms. The
// score of a dictionary is auroc, part ood, of latents_attention.
#pragma once

#include "eval/tasks/task.h"

namespace assay::eval::attention_probing {

extern const TaskEntry kAttentionProbing;

}  // namespace assay::eval::attention_probing
