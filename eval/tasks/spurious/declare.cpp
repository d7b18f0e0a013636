#include "eval/tasks/spurious/declare.h"

#include <fmt/format.h>

#include "eval/results/words.h"
#include "eval/tasks/spurious/fix_entries.h"

namespace assay::eval::spurious {
void declare_spurious(const TriedStrengths& tried, const std::string& headline_part,
                      TaskResult& result) {
  result.metrics = {
      {"both_auroc", "AUROC, mean of reversed and within a format", "higher", 0.5},
      {"anti_auroc", "AUROC, correlation reversed", "higher", 0.5},
      {"within_auroc", "AUROC within a format", "higher", 0.5},
      {"both_auroc_difference", "difference of AUROC, mean of both", "higher"},
      {"both_auroc_permuted_labels", "AUROC, mean of both, permuted labels", "", 0.5}};
  result.arms = {{"dense", "no fix", "baseline", "activations", "logistic_regression"},
                 {"latents", "all latents, no fix", "", "latents", "logistic_regression"}};
  std::vector<std::string> chosen = {"dense", "latents"};
  for (const FixEntry& fix : fix_entries()) {
    result.arms.push_back(fix.arm);
    chosen.push_back(fix.arm.name);
    const auto strengths = tried.find(fix.arm.name);
    if (strengths == tried.end()) continue;
    for (const int64_t strength : strengths->second) {
      ArmEntry arm = fix.arm;
      arm.name = fix_name(fix.arm.name, strength);
      arm.label += fmt::format(", {} {}", strength, fix.unit);
      arm.role = fix.arm.role == "headline" ? "" : fix.arm.role;
      if (arm.method != "covariate") arm.k = strength;  // there it is a factor
      result.arms.push_back(std::move(arm));
    }
  }
  const std::vector<std::string> metrics = {"both_auroc", "anti_auroc", "within_auroc"};
  result.figures = {
      {.kind = "dots",
       .caption = "A fix a row, at the strength chosen on other classes, " + headline_part +
                  "; lines are 95 % intervals. Fixes are compared by the mean of both: one that "
                  "destroys the class gains where the correlation is reversed and loses within a "
                  "format.",
       .metrics = metrics,
       .parts = {headline_part},
       .arms = std::move(chosen),
       .x_title = "AUROC"},
      {.kind = "table",
       .caption = "Every fix at every strength. Strengths that a grid went on to are tried at the "
                  "headline share alone.",
       .metrics = metrics}};
}

std::string share_part(int64_t share) {
  return fmt::format("share {:.2f}", static_cast<double>(share) / 100);
}

std::string removal_part_name(int64_t n) { return fmt::format("n {}", n); }

void declare_removal(const SpuriousConfig& config, TaskResult& result) {
  result.metrics = {{"scr", "SCR", "higher", 0.0},
                    {"tpp", "TPP", "higher", 0.0},
                    {"scr_difference", "difference of SCR", "higher"},
                    {"tpp_difference", "difference of TPP", "higher"}};
  result.arms = {{"neurons", "neurons", "baseline", "neurons", "ablation"},
                 {"latents", "latents", "headline", "latents", "ablation"},
                 {"random_latents", "random latents of the same weight", "control", "latents",
                  "ablation_random"},
                 {"oracle", "oracle (ceiling)", "ceiling", "activations", "ablation"}};
  declare_difference(result, "latents - random_latents", "latents",
                     "random latents of the same weight");
  for (const int64_t n : config.ablate)
    result.parts.push_back(
        {removal_part_name(n), fmt::format("{} ablated", n), static_cast<double>(n)});
  for (const auto& [metric, caption] :
       {std::pair("tpp",
                  "TPP: how much more ablating a concept's own neurons or latents hurts its "
                  "probe than others'."),
        std::pair("scr", "SCR: the share of the way back to a probe without the correlation.")})
    result.figures.push_back(
        {.kind = "curve",
         .title = metric_label(result, metric),
         .caption = std::string(caption) + " Lines are 95 % intervals; controls are grey.",
         .metrics = {metric},
         .x = "part",
         .x_title = "ablated"});
  result.figures.push_back(
      {.kind = "table", .caption = "Both scores at every number.", .metrics = {"tpp", "scr"}});
}

}  // namespace assay::eval::spurious
