#include "eval/tasks/hidden_goals/declare.h"

#include <fmt/format.h>

#include <algorithm>

#include "eval/results/words.h"
#include "kernels/base/error.h"

namespace assay::eval::hidden_goals {
namespace {

/// What there is to say of an arm but its role.
struct Words {
  const char *name, *label, *space, *method;
};
constexpr Words kWords[] = {
    {"rates", "artefacts' rates (ceiling)", "labels", "rate_difference"},
    {"direct_query", "direct query (ceiling)", "outputs", "query"},
    {"neurons", "neurons", "neurons", "separating_features"},
    {"latents", "latents", "latents", "separating_features"},
    {"diff_means", "mean difference", "activations", "mean_difference"},
    {"dense_lr", "logistic regression", "activations", "logistic_regression"},
    {"mean_difference_steering", "mean-difference steering", "activations", "steering"},
    {"gradient_mean_difference", "gradient · mean difference", "gradients", "mean_difference"},
    {"probe_direction", "gradient · probe direction", "gradients", "probe_direction"},
    {"black_box", "black-box regression", "text", "regression"},
    {"dense_exemplar", "dense exemplars", "gradients", "exemplars"},
    {"shift_mean", "mean of the shift", "activations", "shift_mean"},
    {"shift_pca", "PCA of the shift", "activations", "shift_pca"},
    {"dense_posterior", "probes' posterior", "activations", "probe_posterior"},
    {"ridge_exemplar", "ridge, exemplars", "activations", "ridge_exemplars"},
    {"ridge_mean_difference", "ridge · mean difference", "activations", "ridge_mean_difference"},
    {"mean_difference", "mean difference", "activations", "mean_difference"},
    {"black_box_shift", "shift of the words", "text", "word_shift"},
    {"activation_shift", "shift of activations", "activations", "shift"},
    {"logit_lens", "logit lens", "words", "logit_lens"},
    {"latents_exemplar", "latents, exemplars", "latents", "exemplars"},
    {"latents_labelled", "latents, labelled", "latents", "labels"},
    {"latents_tokens", "latents, by the words they raise", "latents", "logit_lens"}};

const char* role_of(const GoalSetup& setup, const GoalArm& arm) {
  if (arm.method == setup.ceiling) return "ceiling";
  if (arm.method == setup.latents.front()) return "headline";
  return !arm.dictionary && arm.calibrated ? "baseline" : "";
}

void declare_arm(const GoalSetup& setup, const GoalArm& arm, TaskResult& result) {
  if (find_arm(result, arm.method)) return;
  for (const Words& words : kWords) {
    const std::string uncalibrated = std::string(words.name) + "_uncalibrated";
    if (arm.method != (arm.calibrated ? words.name : uncalibrated)) continue;
    const std::string label = std::string(words.label) + (arm.calibrated ? "" : ", uncalibrated");
    result.arms.push_back({arm.method, label, role_of(setup, arm), words.space, words.method});
    return;
  }
  throw Error(fmt::format("hidden goals: no words for the arm '{}'", arm.method));
}

Figure best_first(const std::string& title, const std::string& metric, const std::string& part,
                  const std::string& caption, const std::vector<std::string>& arms) {
  return {.kind = "dots",
          .title = title,
          .caption = caption + ", " + part +
                     ": an arm a row, the best first; lines are 95 % intervals. A ceiling is told "
                     "what no other arm may know.",
          .metrics = {metric},
          .parts = {part},
          .arms = arms,
          .order = "best_first"};
}

}  // namespace

std::string strength_part(int64_t strength) {
  return fmt::format("strength {:.2f}", static_cast<double>(strength) / 100);
}

void declare_goals(const GoalSetup& setup, const std::vector<GoalArm>& arms, TaskResult& result) {
  const Credit chance = setup.chance();
  result.metrics = {{"top1", "top-1", "higher", chance.top1},
                    {"mrr", "MRR", "higher", chance.reciprocal},
                    {"detection_auroc", "detection AUROC", "higher", 0.5},
                    {"detection_auroc_plain", "detection, plain benign", "higher", 0.5},
                    {"detection_auroc_decoys", "detection, decoys", "higher", 0.5},
                    {"mrr_difference", "MRR difference", "higher"},
                    {"mrr_absent_class", "MRR less chance, nothing hidden", "", 0.0}};
  std::vector<std::string> strengths, calibrated, compared;
  for (const int64_t strength : setup.strengths) {
    strengths.push_back(strength_part(strength));
    result.parts.push_back(
        {strengths.back(), strengths.back(), static_cast<double>(strength) / 100});
  }
  for (const GoalArm& arm : arms) {
    declare_arm(setup, arm, result);
    const bool known =
        std::find(calibrated.begin(), calibrated.end(), arm.method) != calibrated.end();
    if (!arm.calibrated || known) continue;
    calibrated.push_back(arm.method);
    if (arm.method != setup.ceiling) compared.push_back(arm.method);
  }
  const std::string part = strength_part(setup.headline);
  result.figures = {best_first("Naming what is hidden", "mrr", part,
                               "Mean reciprocal rank of what is hidden", calibrated),
                    best_first("Noticing that something is hidden", "detection_auroc", part,
                               "AUROC of telling the planted from the harmless", calibrated)};
  if (strengths.size() > 1)
    result.figures.push_back(
        {.kind = "curve",
         .title = "How strong it must be",
         .caption = "Mean reciprocal rank by strength, with 95 % intervals; controls are grey.",
         .metrics = {"mrr"},
         .parts = strengths,
         .arms = calibrated,
         .x = "part",
         .x_title = "strength"});
  result.figures.push_back({.kind = "table",
                            .caption = "Naming and noticing at every strength.",
                            .metrics = {"top1", "mrr", "detection_auroc", "detection_auroc_plain",
                                        "detection_auroc_decoys"}});
  result.figures.push_back({.kind = "matrix",
                            .caption = "Mean reciprocal rank of each of what is hidden, " + part +
                                       ". Blue is above chance, red below.",
                            .metrics = {"mrr"},
                            .arms = compared,
                            .details = "goals",
                            .fields = {"goal", "mrr"}});
}

}  // namespace assay::eval::hidden_goals
