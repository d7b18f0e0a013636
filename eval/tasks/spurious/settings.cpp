#include "eval/tasks/spurious/settings.h"

namespace assay::eval::spurious {

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

void make_quick(SpuriousConfig& config) {
  lower(config.classes, 4);
  lower(config.train_per_class, 80);
  lower(config.format_texts, 500);
}

const SettingsSection kSpuriousSettings = settings_section<SpuriousConfig>(
    "spurious",
    "Removal of a spurious correlation. A grid goes on where a choice is its last point.");

}  // namespace assay::eval::spurious
