// Task "core": how much of the activations a dictionary keeps, and how many of its latents live.
//
// Definitions (ordinary tokens only, neither special nor sinks; raw scale, sums over the whole
// part, never means of batch ratios):
//   fvu         Σ‖x − x̂‖² / Σ‖x − μ‖², μ = mean of the part
//   l0          mean number of latents with values > 0
//   dead_share  share of latents that fire on no token of the part
//   cosine      mean cos(x, x̂)          l2_ratio  mean ‖x̂‖/‖x‖
//   tokens      tokens of the part
// Of a data set with sinks (data/sinks.h) also, over the same documents:
//   fvu_with_sinks  the FVU with the sinks among the rows, μ their mean with the others
//   sinks           how many sinks that are
// Parts: "validation", and "train", a sample of training documents of about the same size; either
// of at most core.tokens tokens (eval/encoding/statistics_sample.h), which details["measured"]
// says. Intervals are over documents (μ held fixed), a single one has none; dead_share has
// Wilson's over latents. details["density_histogram"][dictionary]: counts of latents by log10 of
// the share of validation tokens they fire on, [{log10_low, log10_high, count}], and
// details["dead"].
#pragma once

#include "eval/tasks/task.h"

namespace assay::eval::core {

extern const TaskEntry kCore;

}  // namespace assay::eval::core
