#include "eval/tasks/unlearning/settings.h"

namespace assay::eval::unlearning {

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
                  "Measured damage to retained classes at which methods are compared; the first is "
                  "the headline.");
  fields.integer("neighbours", config.neighbours, {1, 10000}, "classes",
                 "Nearest classes whose damage is reported apart.");
  fields.integer("padding", config.padding, {0, 100000}, "tokens",
                 "Filler tokens of the padding attack on gates; 0 = no attack.");
  fields.integer("batch", config.batch, {1, 4096}, "texts", "Texts a forward pass.");
}

void make_quick(UnlearningConfig& config) {
  config.seeds = 1;
  lower(config.classes, 5);
  lower(config.train, 60);
  lower(config.test, 60);
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
                  "Damage to the other corpora, on test texts, at which methods are compared; the "
                  "first is the headline.");
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

void make_quick(UnlearningTextConfig& config) {
  lower(config.estimate, 50);
  lower(config.tune, 50);
  lower(config.test, 50);
  lower(config.continuations, 10);
}

const SettingsSection kUnlearningSettings = settings_section<UnlearningConfig>(
    "unlearning", "Hiding a class from probes on the model's output.");
const SettingsSection kUnlearningTextSettings = settings_section<UnlearningTextConfig>(
    "unlearning_text", "Making a language model forget a corpus.");

}  // namespace assay::eval::unlearning
