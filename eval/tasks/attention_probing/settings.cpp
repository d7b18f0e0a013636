#include "eval/tasks/attention_probing/settings.h"

namespace assay::eval::attention_probing {

void describe(config::Fields& fields, AttentionConfig& config) {
  fields.integer("classes", config.classes, {2, 10000}, "classes",
                 "At most this many of ood_probing's classes, its first.");
  fields.integer("train_per_class", config.train_per_class, {4, 1 << 30}, "texts",
                 "At most this many positive training texts, and as many negatives.");
  fields.integer("test_positives", config.test_positives, {1, 1 << 30}, "texts",
                 "At most this many positive test texts.");
  fields.integer("test_negatives", config.test_negatives, {1, 1 << 30}, "texts",
                 "At most this many negative test texts.");
  fields.integer("longest", config.longest, {1, 1 << 20}, "tokens",
                 "Ordinary tokens of a text that are read, its first.");
}

void make_quick(AttentionConfig& config) {
  lower(config.classes, 3);
  lower(config.train_per_class, 60);
  lower(config.test_positives, 60);
  lower(config.test_negatives, 120);
}

const SettingsSection kAttentionSettings = settings_section<AttentionConfig>(
    "attention_probing", "Probing with attention over a text's tokens.");

}  // namespace assay::eval::attention_probing
