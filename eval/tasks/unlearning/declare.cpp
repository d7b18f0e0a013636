#include "eval/tasks/unlearning/declare.h"

#include <fmt/format.h>

#include "eval/results/words.h"
#include "eval/tasks/unlearning/text_relearn.h"

namespace assay::eval::unlearning {
namespace {

const std::vector<ArmEntry> kArms = {
    {"gated_steering", "gated steering", "baseline", "activations", "steering"},
    {"gated_mean", "gated mean replacement", "baseline", "activations", "mean_replacement"},
    {"leace", "LEACE", "baseline", "activations", "leace"},
    {"mean_projection", "mean-difference projection", "baseline", "activations", "mean_projection"},
    {"contrastive_pca", "contrastive PCA", "baseline", "activations", "contrastive_pca"},
    {"fine_tuning", "fine-tuning", "baseline", "weights", "fine_tuning"},
    {"latents", "latents", "headline", "latents", "clamping"},
    {"latents_gated", "latents, own gate", "", "latents", "gated_clamping"},
    {"latents_lda_gated", "latents, LDA gate", "", "latents", "lda_gated_clamping"},
    {"random_latents", "other latents, matched", "control", "latents", "clamping"},
    {"mean_ablation", "every token the mean", "control", "activations", "mean_ablation"},
    {"untouched", "untouched", "control", "activations", "none"}};

/// Shown where all arms would be too many lines.
const std::vector<std::string> kShown = {"gated_steering", "leace", "fine_tuning", "latents",
                                         "latents_lda_gated"};

const std::vector<PartEntry> kShareParts = {{"test", "test"},
                                            {"forget", "to forget"},
                                            {"retained", "to keep"},
                                            {"forget_padded", "to forget, padded"}};

void add_budgets(const std::vector<int64_t>& budgets, TaskResult& result) {
  for (const int64_t budget : budgets)
    result.parts.push_back(
        {budget_part(budget), fmt::format("budget {}", budget), static_cast<double>(budget)});
}

Figure drops(const std::string& caption, std::vector<std::string> parts) {
  return {.kind = "dots",
          .title = "What each method hides",
          .caption = caption + " Lines are 95 % intervals.",
          .metrics = {"forget_drop"},
          .parts = std::move(parts),
          .references = {{0, "hides nothing"}, {1, "hides all"}}};
}

void add_frontiers(const std::string& what, TaskResult& result) {
  const std::string budgets =
      what +
      " over measured damage, which is the budget unless a method's strongest useful setting "
      "stays below it.";
  result.figures.push_back({.kind = "frontier",
                            .title = "What it costs to hide more",
                            .caption = budgets + " Lines are 95 % intervals; controls are grey.",
                            .metrics = {"frontier_damage", "frontier_drop"},
                            .arms = kShown});
  result.figures.push_back({.kind = "table",
                            .caption = "Frontier of every method: " + budgets,
                            .metrics = {"frontier_drop", "frontier_damage"}});
}

}  // namespace

std::string few_shot_part(int64_t labels) { return fmt::format("few_shot_{}", labels); }
std::string budget_part(int64_t budget) { return fmt::format("budget_{}", budget); }
std::string relearning_part(int64_t texts) { return fmt::format("texts_{}", texts); }

nlohmann::json point_row(const OperatingPoint& point, int64_t budget,
                         const std::vector<std::string>& settings) {
  const auto name = [&](Setting setting) { return setting ? settings[*setting] : "none"; };
  return {{"budget", budget},
          {"weaker", name(point.weaker)},
          {"stronger", name(point.stronger)},
          {"share_of_stronger", point.share},
          {"budget_reached", point.reached},
          {"on_grid_edge", point.edge}};
}

std::string edge_name(const std::string& method, const std::string& dictionary,
                      const OperatingPoint& point, const std::vector<std::string>& settings) {
  return fmt::format("{}{}{} ({})", method, dictionary.empty() ? "" : " of ", dictionary,
                     settings[*point.stronger]);
}

std::string edge_caveat(const std::vector<std::string>& arms) {
  if (arms.empty()) return {};
  return fmt::format("on an edge of the grid, where a wider one may hide more: {}",
                     fmt::join(arms, ", "));
}

void declare_unlearning(const UnlearningConfig& config, TaskResult& result) {
  result.arms = kArms;
  result.arms.push_back({"oracle", "oracle (ceiling)", "ceiling", "activations", "exchange"});
  result.metrics = {{"forget_drop", "forget drop", "higher", 0.0},
                    {"retain_damage", "damage", "lower"},
                    {"neighbour_damage", "damage, neighbours", "lower"},
                    {"retain_cosine", "cosine", "higher"},
                    {"neighbour_cosine", "cosine, neighbours", "higher"},
                    {"edited_share", "texts edited", ""},
                    {"frontier_drop", "forget drop", "higher", 0.0},
                    {"frontier_damage", "damage in points of accuracy", "lower"},
                    {"probe_auroc", "AUROC of probes, untouched", "", 0.5},
                    {"auroc_permuted_labels", "AUROC, permuted labels", "", 0.5}};
  result.parts = kShareParts;
  std::vector<std::string> attackers = {"frozen"};
  result.parts.push_back({"frozen", "frozen probe"});
  for (const int64_t labels : config.labels) {
    attackers.push_back(few_shot_part(labels));
    result.parts.push_back(
        {attackers.back(), fmt::format("few-shot, {} texts", labels), static_cast<double>(labels)});
  }
  attackers.push_back(few_shot_part(config.headline_labels) + "_padded");
  result.parts.push_back(
      {attackers.back(), fmt::format("few-shot, {} texts, padded", config.headline_labels)});
  attackers.emplace_back("all_labels");
  result.parts.push_back({"all_labels", "all labels"});
  add_budgets(config.budgets, result);
  result.figures = {
      drops("Forget drop by attacker. A frozen probe never saw an edited text; few-shot probes "
            "were trained on that many edited texts of each class. The oracle exchanges forget "
            "texts for retained ones.",
            attackers),
      {.kind = "table",
       .caption = "What each method costs where it is compared, and which texts it touches: "
                  "damage in points of accuracy over retained classes, their cosine with the "
                  "untouched output, the share of texts edited.",
       .metrics = {"retain_damage", "neighbour_damage", "retain_cosine", "edited_share"}}};
  add_frontiers("Few-shot forget drop", result);
}

void declare_unlearning_text(const UnlearningTextConfig& config,
                             const std::vector<std::string>& corpora, TaskResult& result) {
  result.arms = kArms;
  result.arms.push_back({"true_text", "the true text", "control", "text", "none"});
  result.metrics = {{"forget_drop", "forget drop", "higher", 0.0},
                    {"retain_damage", "damage", "lower"},
                    {"edited_share", "texts edited", ""},
                    {"frontier_drop", "forget drop", "higher", 0.0},
                    {"frontier_damage", "damage in percent", "lower"},
                    {"token_loss", "loss a token", ""},
                    {"relearned_drop", "forget drop after relearning", "higher", 0.0},
                    {"written_as_forgotten", "judged as the corpus to forget", ""},
                    {"written_overlap", "bigrams of the true text", ""},
                    {"written_repetition", "bigrams that come again", ""},
                    {"judge_auroc", "AUROC of the judge", "higher", 0.5}};
  result.parts = kShareParts;
  for (const std::string& corpus : corpora)
    if (!find_part(result, corpus)) result.parts.push_back({corpus, corpus});
  for (const int64_t texts : kRelearnTexts)
    result.parts.push_back(
        {relearning_part(texts), fmt::format("{} texts", texts), static_cast<double>(texts)});
  add_budgets(config.budgets, result);
  std::vector<std::string> attacked = kShown;
  attacked.insert(attacked.end(), {"untouched", "mean_ablation"});
  result.figures = {
      drops("Forget drop: the share of what the layer tells the model about the corpus that is "
            "gone. At 1 the loss is that with the data's mean in place of every token; above it, "
            "it is worse still.",
            {"test"}),
      {.kind = "table",
       .caption = "Loss per token (nats) by corpus. Damage, in percent, is the forget drop of the "
                  "corpora to keep.",
       .metrics = {"token_loss", "retain_damage", "edited_share"}},
      {.kind = "curve",
       .title = "What relearning brings back",
       .caption = "The forget drop that is left after somebody with so many texts of the corpus "
                  "trains the layers above the edit. Read it against the untouched model, trained "
                  "alike, and against mean ablation, where all must be learnt anew.",
       .metrics = {"relearned_drop"},
       .arms = attacked,
       .x = "part",
       .x_title = "texts of the corpus"},
      {.kind = "table", .caption = "Relearning, every method.", .metrics = {"relearned_drop"}},
      {.kind = "table",
       .caption = "What the model writes after the beginnings of test texts while the edit is "
                  "held: the share that a judge of words, fitted on other texts, takes for the "
                  "corpus to forget; the share of bigrams that the true text has; the share of "
                  "bigrams that come again. A low first share with much repetition is babble, not "
                  "forgetting.",
       .metrics = {"written_as_forgotten", "written_overlap", "written_repetition"}}};
  add_frontiers("Forget drop", result);
}

}  // namespace assay::eval::unlearning
