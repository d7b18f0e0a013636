#include "eval/tasks/spurious/declare.h"

#include <fmt/format.h>

#include "eval/results/words.h"

namespace assay::eval::spurious {
namespace {

/// A fix, the strengths at which it is tried, and what they count.
struct Fix {
  ArmEntry arm;
  std::vector<int64_t> strengths;
  const char* unit;
};

std::vector<Fix> fixes_of(const SpuriousConfig& config) {
  return {{{"mean_difference", "mean difference", "baseline", "activations", "mean_projection"},
           {1},
           "direction"},
          {{"leace", "LEACE", "baseline", "activations", "leace"}, {1}, "direction"},
          {{"inlp", "INLP", "baseline", "activations", "inlp"}, config.inlp, "directions"},
          {{"neurons_drop", "neurons dropped", "baseline", "neurons", "drop"},
           config.neurons,
           "neurons"},
          {{"paired", "paired differences", "baseline", "activations", "paired_projection"},
           config.paired,
           "directions"},
          {{"covariate", "format as a covariate", "baseline", "activations", "covariate"},
           config.covariate,
           "times"},
          {{"paired_covariate", "paired differences, format as a covariate", "baseline",
            "activations", "paired_projection_and_covariate"},
           config.paired,
           "directions"},
          {{"latents_drop", "latents dropped", "headline", "latents", "drop"},
           config.latents,
           "latents"},
          {{"latents_random", "random latents dropped", "control", "latents", "drop_random"},
           config.latents,
           "latents"},
          {{"edit", "latents edited out", "", "latents", "edit"}, config.latents, "latents"},
          {{"edit_covariate", "latents edited out, format as a covariate", "", "latents",
            "edit_and_covariate"},
           config.latents,
           "latents"}};
}

}  // namespace

std::string fix_name(const std::string& fix, int64_t strength) {
  return strength == 0 ? fix : fmt::format("{}_{}", fix, strength);
}

void declare_spurious(const SpuriousConfig& config, const std::string& headline_part,
                      TaskResult& result) {
  result.metrics = {
      {"anti_auroc", "AUROC, correlation reversed", "higher", 0.5},
      {"within_auroc", "AUROC within a format", "higher", 0.5},
      {"anti_auroc_difference", "difference of AUROC, correlation reversed", "higher"},
      {"anti_auroc_permuted_labels", "AUROC, permuted labels", "", 0.5}};
  result.arms = {{"dense", "no fix", "baseline", "activations", "logistic_regression"},
                 {"latents", "all latents, no fix", "", "latents", "logistic_regression"}};
  std::vector<std::string> chosen = {"dense", "latents"};
  for (const Fix& fix : fixes_of(config)) {
    result.arms.push_back(fix.arm);
    chosen.push_back(fix.arm.name);
    for (const int64_t strength : fix.strengths) {
      ArmEntry arm = fix.arm;
      arm.name = fix_name(fix.arm.name, strength);
      arm.label += fmt::format(", {} {}", strength, fix.unit);
      arm.role = fix.arm.role == "headline" ? "" : fix.arm.role;
      if (arm.method != "covariate") arm.k = strength;  // there it is a factor
      result.arms.push_back(std::move(arm));
    }
  }
  result.figures = {
      {.kind = "dots",
       .caption = "A fix a row, at the strength chosen on other classes, " + headline_part +
                  "; lines are 95 % intervals. A fix that lowers the value within a format "
                  "destroys what it should keep.",
       .metrics = {"anti_auroc", "within_auroc"},
       .parts = {headline_part},
       .arms = std::move(chosen),
       .x_title = "AUROC"},
      {.kind = "table",
       .caption = "Every fix at every strength.",
       .metrics = {"anti_auroc", "within_auroc"}}};
}

std::string removal_part_name(int64_t n) { return fmt::format("n {}", n); }

void declare_removal(const SpuriousConfig& config, TaskResult& result) {
  result.metrics = {{"scr", "SCR", "higher"},
                    {"tpp", "TPP", "higher"},
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
