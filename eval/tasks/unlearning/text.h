// Task "unlearning_text": can a causal language model be made to forget a corpus by an edit at the
// dictionary's layer, and does clamping latents do it better than steering or erasure?
// docs/tasks/unlearning_text.md has the protocol.
//
// With L the loss a token on the test texts of a corpus, L₀ untouched and L₁ with the mean of the
// estimate texts in place of every ordinary token:
//   forget_drop    (L − L₀)/(L₁ − L₀) on the corpus to forget: the share of what the layer tells
//                  the model that is gone
//   retain_damage  100 times the same on the corpora to keep
//   token_loss     L, nats, part = the corpus; of method "untouched" L₀, of "mean_ablation" L₁
//   edited_share   share of texts that the edit touches, parts forget and retained
//   frontier_drop, frontier_damage  the first two where settings are chosen anew for each budget
//   relearned_drop  forget_drop behind an attacker's training on 4, 16 or 64 texts (part texts_N);
//                  also of "untouched" and "mean_ablation"
//   written_as_forgotten  share of continuations, edit held, that a judge of words takes for the
//                  corpus to forget
//   written_overlap, written_repetition  their bigrams in the true text, and repeated; parts forget
//                  and retained; also of methods "untouched" and "true_text"
//   judge_auroc    the judge on true text
// Intervals are over documents. Score: forget_drop by document; a dictionary's headline arm is
// "latents". details: operating_points, grid (tuning), residual_norm, continuation, relearning.
#pragma once

#include "eval/tasks/task.h"

namespace assay::eval::unlearning {

extern const TaskEntry kUnlearningText;

}  // namespace assay::eval::unlearning
