#include "eval/tasks/probing/settings.h"

namespace assay::eval::probing {

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
                 "Fewest positive texts a class must have in each test part.");
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

void make_quick(OodConfig& config) {
  lower(config.classes, 6);
  lower(config.train_per_class, 100);
  lower(config.test_positives, 100);
  lower(config.test_negatives, 300);
}

void describe(config::Fields& fields, RegimesConfig& config) {
  fields.integers("scarcity", config.scarcity, {2, 1 << 20}, "texts",
                  "Training texts of each class, in turn.");
  fields.integers("positive_percent", config.positive_percent, {1, 99}, "%",
                  "Shares of positives among the training texts, in turn.");
  fields.integers("flipped_percent", config.flipped_percent, {1, 49}, "%",
                  "Shares of training labels of each class that are flipped, in turn.");
}

void make_quick(RegimesConfig& config) {
  keep_first(config.scarcity);
  keep_first(config.positive_percent);
  keep_first(config.flipped_percent);
}

void describe(config::Fields& fields, ThemesConfig& config) {
  fields.text("source", config.source, "Class of ood_probing.filter_label that probes train on.");
  fields.text("target", config.target,
              "Class of ood_probing.filter_label that makes the OOD test.");
  fields.texts("pairs", config.pairs, "Themes: SOURCE=TARGET classes of ood_probing.class_label.");
}

/// Nothing here costs time.
void make_quick(ThemesConfig&) {}

const SettingsSection kOodSettings =
    settings_section<OodConfig>("ood_probing", "Out-of-distribution probing.");
const SettingsSection kRegimesSettings =
    settings_section<RegimesConfig>("probe_regimes", "Probing with few, skewed or noisy labels.");
const SettingsSection kThemesSettings = settings_section<ThemesConfig>(
    "probe_themes", "Probing across word classes: the same theme in another kind of word.");

}  // namespace assay::eval::probing
