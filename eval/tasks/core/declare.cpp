#include "eval/tasks/core/declare.h"

namespace assay::eval::core {

void declare_core(TaskResult& result) {
  result.metrics = {{"fvu", "FVU", "lower", {}, "validation"},
                    {"l0", "L0", "", {}, "validation"},
                    {"dead_share", "dead share", "lower", {}, "validation"},
                    {"cosine", "cosine", "higher"},
                    {"l2_ratio", "norm ratio", ""},
                    {"tokens", "tokens", ""}};
  result.parts = {{"validation", "validation"}, {"train", "train"}};
  result.figures = {
      {.kind = "table",
       .caption = "FVU is the share of variance left unexplained: a diagnostic of training, not a "
                  "score of worth. A latent is dead if it fires on no token of the part.",
       .metrics = {"fvu", "l0", "cosine", "l2_ratio", "dead_share", "tokens"}},
      {.kind = "frontier",
       .title = "Reconstruction against sparsity",
       .caption = "FVU over L0 on validation, a point a dictionary with its 95 % interval; lower "
                  "and further left is better. A line joins dictionaries of one variant and width.",
       .metrics = {"l0", "fvu"},
       .parts = {"validation"}},
      {.kind = "histogram",
       .title = "Firing density",
       .caption = "How many latents fire on which share of validation tokens. Latents that never "
                  "fire have no logarithm and are left out; the dead share counts them.",
       .x_title = "log₁₀ of the share of tokens a latent fires on",
       .details = "density_histogram",
       .fields = {"log10_low", "log10_high", "count"}}};
}

void declare_sinks(TaskResult& result) {
  for (const MetricEntry& metric : {MetricEntry{"fvu_with_sinks", "FVU with sinks", "lower"},
                                    MetricEntry{"sinks", "sinks", ""}}) {
    result.metrics.push_back(metric);
    result.figures.front().metrics.push_back(metric.name);
  }
}

void declare_splice(TaskResult& result) {
  result.arms = {{"zero_ablation", "zeros", "control", "activations", "zero_ablation"},
                 {"mean_ablation", "the mean", "control", "activations", "mean_ablation"}};
  result.metrics = {{"splice_cosine_loss", "cosine loss", "lower"},
                    {"splice_recovered_zero", "recovered against zeros", "higher", 0.0},
                    {"splice_recovered_mean", "recovered against the mean", "higher", 0.0}};
  result.parts = {{"validation", "validation"}};
  result.figures = {
      {.kind = "table",
       .caption = "Loss is 1 − cosine of the model's output with and without the splice. "
                  "Recovered: the share of the loss under ablation that the reconstruction avoids.",
       .metrics = {"splice_cosine_loss", "splice_recovered_zero", "splice_recovered_mean"}}};
}

void declare_seed_stability(TaskResult& result) {
  result.metrics = {{"shared_share", "shared latents", "higher"},
                    {"matched_cosine", "matched cosine", "higher"}};
  result.parts = {{"decoder", "decoder"}, {"encoder", "encoder"}};
  result.figures = {
      {.kind = "table",
       .caption = "Shared: the latents of the first dictionary that the second has too, by decoder "
                  "and encoder. Cosines are of each latent and its partner.",
       .metrics = {"shared_share", "matched_cosine"}}};
}

}  // namespace assay::eval::core
