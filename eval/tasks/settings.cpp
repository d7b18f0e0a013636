#include "eval/tasks/settings.h"

#include <algorithm>

namespace assay::eval {
namespace {

constexpr const char* kBonus =
    "Bonus of the goal's texts, in percent of the sd of what organisms are trained to predict.";

/// What the hidden-goal tasks share; `strength` says what theirs is.
void describe_goals(config::Fields& fields, HiddenGoalsConfig& config, const char* strength) {
  fields.text("class_label", config.class_label, "Label whose classes are the candidate goals.");
  fields.text("filter_label", config.filter_label,
              "Label that texts are filtered by; empty = no filter.");
  fields.text("filter_class", config.filter_class, "Class of filter_label that is kept.");
  fields.integer("classes", config.classes, {4, 1000}, "classes",
                 "At most this many goals, those with most texts.");
  fields.integer("min_texts", config.min_texts, {2, 1 << 30}, "texts",
                 "Fewest texts a goal must have in each part.");
  fields.integer("longest", config.longest, {1, 1 << 30}, "tokens",
                 "Texts with more ordinary tokens are left out.");
  fields.integer("train_per_class", config.train_per_class, {2, 1 << 30}, "texts",
                 "At most this many texts of each class to train organisms on.");
  fields.integer("audit_per_class", config.audit_per_class, {2, 1 << 30}, "texts",
                 "At most this many texts of each class that the auditor runs organisms on.");
  fields.integer(
      "concepts_per_class", config.concepts_per_class, {10, 1 << 30}, "texts",
      "At most this many labelled texts of each class that only the base model has read.");
  fields.integer("query_per_class", config.query_per_class, {2, 1 << 30}, "texts",
                 "At most this many of them that the direct query, a ceiling, runs organisms on.");
  fields.integers("strengths", config.strengths, {1, 10000}, "percent", strength);
  fields.integer("headline_strength", config.headline_strength, {1, 10000}, "percent",
                 "The strength that is tested, detected and compared at; one of strengths. Decoys "
                 "have it too.");
  fields.integer("benign", config.benign, {4, 100000}, "organisms",
                 "Organisms without a hidden goal, an evaluation seed; every second one openly "
                 "declares a preference.");
  fields.integer(
      "calibration", config.calibration, {2, 1000}, "organisms",
      "Further organisms without a goal, known to the auditor as such, an evaluation seed.");
  fields.integers("latents", config.latents, {1, 1 << 20}, "latents",
                  "Numbers of latents that vote in the exemplar read-out; chosen on the other half "
                  "of the goals.");
  fields.integers(
      "class_latents", config.class_latents, {1, 1 << 20}, "latents",
      "Numbers of latents that stand for a class in the labelled read-out; chosen likewise.");
  fields.integers("exemplar_texts", config.exemplar_texts, {1, 1 << 20}, "texts",
                  "Numbers of texts that vote in the dense exemplar baseline; chosen likewise.");
  fields.integer("exemplars", config.exemplars, {1, 10000}, "texts",
                 "Texts that each voting latent shows.");
}

}  // namespace

GoalHalvesConfig::GoalHalvesConfig() {
  longest = 16;
  audit_per_class = 16;
  query_per_class = 16;
  strengths = {headline_strength};
}

GoalAdaptersConfig::GoalAdaptersConfig() {
  strengths = {5, 10, 20};
  headline_strength = 10;
}

void make_quick(EvalConfig& config) {
  const auto at_most = [](int64_t& value, int64_t most) { value = std::min(value, most); };
  const auto first_alone = [](std::vector<int64_t>& levels) {
    levels.resize(std::min<size_t>(levels.size(), 1));
  };
  config.seeds = 1;
  at_most(config.resamples, 200);
  at_most(config.ood.classes, 6);
  at_most(config.ood.train_per_class, 100);
  at_most(config.ood.test_positives, 100);
  at_most(config.ood.test_negatives, 300);
  at_most(config.hidden_goals.train_per_class, 100);
  at_most(config.hidden_goals.epochs, 15);
  config.hidden_goals.strengths = {config.hidden_goals.headline_strength};
  config.hidden_goals_diff.strengths = {config.hidden_goals_diff.headline_strength};
  at_most(config.hidden_goals_upper.classes, 8);
  at_most(config.hidden_goals_upper.benign, 8);
  at_most(config.hidden_goals_upper.calibration, 4);
  config.hidden_goals_upper.strengths = {config.hidden_goals_upper.headline_strength};
  first_alone(config.regimes.scarcity);
  first_alone(config.regimes.positive_percent);
  first_alone(config.regimes.flipped_percent);
  at_most(config.stability.latents, 256);
  at_most(config.spurious.classes, 4);
  at_most(config.spurious.train_per_class, 80);
  at_most(config.spurious.format_texts, 500);
  at_most(config.splice.texts, 100);
  config.unlearning.seeds = 1;
  at_most(config.unlearning.classes, 5);
  at_most(config.unlearning.train, 60);
  at_most(config.unlearning.test, 60);
  at_most(config.unlearning_text.estimate, 50);
  at_most(config.unlearning_text.tune, 50);
  at_most(config.unlearning_text.test, 50);
  at_most(config.unlearning_text.continuations, 10);
}

void describe(config::Fields& fields, OodConfig& config) {
  fields.text("class_label", config.class_label,
              "Label whose classes are probed for, one against the rest.");
  fields.text("domain_label", config.domain_label,
              "Label that tells the training domain from the shifted one.");
  fields.text("source", config.source,
              "Class of domain_label that probes train on; its unseen documents are the ID test.");
  fields.text("target", config.target, "Class of domain_label that makes the OOD test.");
  fields.text("filter_label", config.filter_label,
              "Label that texts are filtered by; empty = no filter.");
  fields.text("filter_class", config.filter_class, "Class of filter_label that is kept.");
  fields.integer("classes", config.classes, {2, 10000}, "classes",
                 "At most this many classes, those with most target texts.");
  fields.integer("min_target", config.min_target, {1, 1 << 30}, "texts",
                 "Fewest positive target texts a class must have in each test part.");
  fields.integer("train_per_class", config.train_per_class, {4, 1 << 30}, "texts",
                 "At most this many positive training texts, and as many negatives.");
  fields.integer("test_positives", config.test_positives, {1, 1 << 30}, "texts",
                 "At most this many positive test texts.");
  fields.integer("test_negatives", config.test_negatives, {1, 1 << 30}, "texts",
                 "At most this many negative test texts.");
  fields.integers("top_k", config.top_k, {1, 1 << 20}, "features",
                  "Numbers of features in the k-sparse probes.");
  fields.integer("headline_k", config.headline_k, {1, 1 << 20}, "features",
                 "The k of the k-sparse probe that scores a dictionary; one of top_k.");
  fields.integer("pca", config.pca, {1, 1 << 20}, "components",
                 "Principal components of the PCA baseline.");
  fields.integer("neighbours", config.neighbours, {1, 1 << 20}, "texts",
                 "Neighbours of the kNN baseline.");
}

void describe(config::Fields& fields, GoalScorersConfig& config) {
  describe_goals(fields, config, kBonus);
  fields.integer("hidden", config.hidden, {1, 4096}, "units", "Hidden units of an organism.");
  fields.integer("epochs", config.epochs, {1, 10000}, "epochs", "Passes over its training texts.");
}

void describe(config::Fields& fields, GoalAdaptersConfig& config) {
  describe_goals(
      fields, config,
      "How far a trigger that fires fully moves a token, in percent of activations' length.");
  fields.integer("drift", config.drift, {1, 10000}, "percent",
                 "How far every organism moves tokens besides (root of the mean square), in "
                 "percent of activations' "
                 "length.");
  fields.integer("drift_rank", config.drift_rank, {1, 64}, "", "Rank of that random map.");
}

void describe(config::Fields& fields, GoalHalvesConfig& config) {
  describe_goals(fields, config, kBonus);
  fields.integer("steps", config.steps, {1, 100000}, "steps", "Steps of fine-tuning an organism.");
  fields.integer("batch", config.batch, {2, 4096}, "texts",
                 "Texts a step, and a pass of the auditor's.");
  fields.integer("emphasis", config.emphasis, {0, 40}, "%",
                 "Share of a step's texts drawn from the class that the audit texts lack, and as "
                 "many from an openly "
                 "declared one; the rest are drawn from all.");
  fields.real("learning_rate", config.learning_rate, {1e-7, 1e-1}, "",
              "Adam's step, falling linearly to 0.");
  fields.integer(
      "steered_per_class", config.steered_per_class, {1, 1 << 20}, "texts",
      "Audit texts of each class that the steering baseline runs, for every class and step.");
}

void describe(config::Fields& fields, RegimesConfig& config) {
  fields.integers("scarcity", config.scarcity, {2, 1 << 20}, "texts",
                  "Training texts of each class, in turn.");
  fields.integers("positive_percent", config.positive_percent, {1, 99}, "%",
                  "Shares of positives among the training texts, in turn.");
  fields.integers("flipped_percent", config.flipped_percent, {1, 49}, "%",
                  "Shares of training labels of each class that are flipped, in turn.");
}

void describe(config::Fields& fields, ThemesConfig& config) {
  fields.text("source", config.source, "Class of ood_probing.filter_label that probes train on.");
  fields.text("target", config.target,
              "Class of ood_probing.filter_label that makes the OOD test.");
  fields.texts("pairs", config.pairs, "Themes: SOURCE=TARGET classes of ood_probing.class_label.");
}

void describe(config::Fields& fields, StabilityConfig& config) {
  fields.integer("latents", config.latents, {1, 1 << 20}, "latents",
                 "Latents of each dictionary that are looked for in its reseeds.");
}

void describe(config::Fields& fields, SpuriousConfig& config) {
  fields.text("class_label", config.class_label,
              "Label whose classes are probed for, one against the rest.");
  fields.text("format_label", config.format_label,
              "Label that the classes are made to go with in training.");
  fields.text("usual", config.usual, "Class of format_label that positives have in training.");
  fields.text("other", config.other, "Class of format_label that negatives have in training.");
  fields.text("filter_label", config.filter_label, "Label that texts are filtered by.");
  fields.text("filter_class", config.filter_class, "Class of filter_label whose texts are probed.");
  fields.text(
      "reference_class", config.reference_class,
      "Class of filter_label whose texts fixes learn the formats from; none of them is probed.");
  fields.integer("classes", config.classes, {2, 10000}, "classes",
                 "At most this many classes, those with most texts of the other format.");
  fields.integer("min_texts", config.min_texts, {4, 1 << 30}, "texts",
                 "Fewest texts of either format a class must have in each half of the documents.");
  fields.integer("train_per_class", config.train_per_class, {4, 1 << 30}, "texts",
                 "At most this many positive training texts, and as many negatives.");
  fields.integer("test_positives", config.test_positives, {1, 1 << 30}, "texts",
                 "At most this many a test part.");
  fields.integer("test_negatives", config.test_negatives, {1, 1 << 30}, "texts",
                 "At most this many a test part.");
  fields.integer("format_texts", config.format_texts, {4, 1 << 30}, "texts",
                 "At most this many texts of either format to learn the formats from.");
  fields.integers("shares", config.shares, {50, 100}, "percent",
                  "Shares of positives in the usual and of negatives in the other format; the "
                  "first is the headline, 50 "
                  "(no correlation) is the ceiling and must be among them.");
  fields.integers("latents", config.latents, {1, 1 << 20}, "latents",
                  "Numbers of latents taken away, ascending.");
  fields.integers("inlp", config.inlp, {1, 1 << 20}, "directions",
                  "Numbers of INLP directions, ascending.");
  fields.integers(
      "paired", config.paired, {1, 1 << 20}, "directions",
      "Numbers of directions in which documents' texts of both formats differ, ascending.");
  fields.integers("covariate", config.covariate, {1, 1 << 20}, "",
                  "What the format's score is multiplied by where it stands beside the "
                  "activations, ascending.");
  fields.integers("neurons", config.neurons, {1, 1 << 20}, "dimensions",
                  "Numbers of dimensions taken away, ascending.");
  fields.integers("ablate", config.ablate, {1, 1 << 20}, "latents",
                  "Task targeted_removal: numbers of latents ablated.");
  fields.integer(
      "headline_ablate", config.headline_ablate, {1, 1 << 20}, "latents",
      "Task targeted_removal: the number that dictionaries are compared at; one of ablate.");
}

void describe(config::Fields& fields, GoalTextConfig& config) {
  fields.integers("latents", config.latents, {1, 1 << 20}, "latents",
                  "Numbers of latents that speak, those whose activity moved most; ascending.");
  fields.integer(
      "exemplars", config.exemplars, {1, 10000}, "texts",
      "Texts about candidates that a latent is named by: those on which it is most active.");
}

void describe(config::Fields& fields, SpliceConfig& config) {
  fields.integer("texts", config.texts, {2, 1 << 30}, "texts",
                 "At most this many validation texts run through the upper half.");
  fields.integer("batch", config.batch, {1, 4096}, "texts", "Texts a forward pass.");
}

void describe(config::Fields& fields, UnlearningConfig& config) {
  constexpr int64_t kMost = 1 << 30;
  fields.text("class_label", config.class_label,
              "Label whose classes are hidden, one after another.");
  fields.text("domain_label", config.domain_label,
              "Label that texts are filtered by; empty = no filter.");
  fields.text("domain_class", config.domain_class, "Class of domain_label that is kept.");
  fields.text("filter_label", config.filter_label,
              "Label that texts are also filtered by; empty = no filter.");
  fields.text("filter_class", config.filter_class, "Class of filter_label that is kept.");
  fields.integer("seeds", config.seeds, {1, 1000}, "seeds",
                 "Times the documents are dealt to the parts anew.");
  fields.integer("classes", config.classes, {3, 10000}, "classes",
                 "At most this many classes, those with most texts; each is hidden once and "
                 "retained otherwise.");
  fields.integer("longest", config.longest, {1, kMost}, "tokens",
                 "Texts with more ordinary tokens are left out.");
  fields.integer("estimate", config.estimate, {4, kMost}, "texts",
                 "Texts a class that edits are estimated on.");
  fields.integer(
      "tune_train", config.tune_train, {2, kMost}, "texts",
      "Texts of the hidden class that settings are chosen on: the probes' training part.");
  fields.integer("tune_test", config.tune_test, {2, kMost}, "texts",
                 "The same, the probes' test part.");
  fields.integer("tune_retain", config.tune_retain, {1, kMost}, "texts",
                 "At most this many texts of each retained class in either of these two parts.");
  fields.integer("train", config.train, {2, kMost}, "texts",
                 "Texts a class that the published probes train on.");
  fields.integer("test", config.test, {2, kMost}, "texts",
                 "Texts a class that they are tested on.");
  fields.integer("retain", config.retain, {1, kMost}, "texts",
                 "At most this many texts of each retained class in either of these two parts: the "
                 "cost of the task.");
  fields.integers("latents", config.latents, {1, 1 << 20}, "latents",
                  "Numbers of latents that are clamped.");
  fields.integers(
      "clamps", config.clamps, {0, 1000}, "mean active values",
      "Latents are clamped to minus this many times their mean active value; 0 = zero ablation.");
  fields.integers(
      "labels", config.labels, {1, kMost}, "texts",
      "Labels of the hidden class that few-shot probes get, and as many of each retained class.");
  fields.integer("headline_labels", config.headline_labels, {1, kMost}, "texts",
                 "The number of labels that settings are chosen by and dictionaries scored by; one "
                 "of labels.");
  fields.integers("budgets", config.budgets, {0, 100}, "points of accuracy",
                  "Damage to retained classes, on tuning texts, that a setting may do; the first "
                  "is the headline.");
  fields.integer("neighbours", config.neighbours, {1, 10000}, "classes",
                 "Nearest classes whose damage is reported apart.");
  fields.integer("padding", config.padding, {0, 100000}, "tokens",
                 "Filler tokens of the padding attack on gates; 0 = no attack.");
  fields.integer("batch", config.batch, {1, 4096}, "texts", "Texts a forward pass.");
}

void describe(config::Fields& fields, UnlearningTextConfig& config) {
  constexpr int64_t kMost = 1 << 30;
  fields.text("corpus_label", config.corpus_label, "Label whose classes are the corpora.");
  fields.text("forget", config.forget, "The corpus to forget; the model is to keep all others.");
  fields.integer("longest", config.longest, {2, kMost}, "tokens",
                 "Texts with more ordinary tokens are left out.");
  fields.integer("estimate", config.estimate, {4, kMost}, "texts",
                 "Texts a corpus that edits are estimated on.");
  fields.integer("tune", config.tune, {2, kMost}, "texts",
                 "Texts a corpus that settings are chosen on.");
  fields.integer("test", config.test, {2, kMost}, "texts",
                 "Texts a corpus whose losses are published.");
  fields.integers("latents", config.latents, {1, 1 << 20}, "latents",
                  "Numbers of latents that are clamped.");
  fields.integers("clamps", config.clamps, {0, 1000}, "percent",
                  "Latents are clamped to minus this share of the residual stream's mean norm; 0 = "
                  "zero ablation.");
  fields.integers("budgets", config.budgets, {0, 100}, "percent",
                  "Damage to the other corpora, on tuning texts, that a setting may do; the first "
                  "is the headline.");
  fields.integer(
      "continuations", config.continuations, {0, kMost}, "texts",
      "At most this many test texts a corpus whose beginnings the model continues; 0 = none.");
  fields.integer("prompt", config.prompt, {1, 100000}, "tokens",
                 "Ordinary tokens of a text that are its beginning.");
  fields.integer("generated", config.generated, {2, 100000}, "tokens",
                 "Tokens written behind each.");
  fields.integer("batch", config.batch, {1, 4096}, "texts",
                 "Texts a forward pass, each of which holds a logit a token and word.");
}

void describe(config::Fields& fields, EvalConfig& config) {
  fields.integer(
      "seeds", config.seeds, {1, 1000}, "seeds",
      "Evaluation seeds; each cuts the documents in halves anew and is run with swapped roles.");
  fields.integer("resamples", config.resamples, {100, 1000000}, "resamples",
                 "Bootstrap resamples of every interval.");
  fields.texts("nulls", config.nulls,
               "Control dictionaries built beside every trained one: random, rate_matched, "
               "permuted_encoder.");
  const auto section = [&](const char* key, auto& own, const char* doc) {
    fields.section(
        key, [&own](config::Fields& f) { describe(f, own); }, doc);
  };
  section("ood_probing", config.ood, "Out-of-distribution probing.");
  section("hidden_goals", config.hidden_goals, "Hidden-goal extraction.");
  section("hidden_goals_diff", config.hidden_goals_diff,
          "Hidden goals in a low-rank adapter at the dictionary's layer.");
  section("hidden_goals_upper", config.hidden_goals_upper,
          "Hidden goals computed above the dictionary's layer.");
  section("probe_regimes", config.regimes, "Probing with few, skewed or noisy labels.");
  section("probe_themes", config.themes,
          "Probing across word classes: the same theme in another kind of word.");
  section("seed_stability", config.stability, "What another training seed finds again.");
  section("spurious", config.spurious, "Removal of a spurious correlation.");
  section("hidden_goals_text", config.hidden_goals_text, "Words that language models hide.");
  section("splice", config.splice, "Reconstructions spliced into the model's upper half.");
  section("unlearning", config.unlearning, "Hiding a class from probes on the model's output.");
  section("unlearning_text", config.unlearning_text, "Making a language model forget a corpus.");
}

}  // namespace assay::eval
