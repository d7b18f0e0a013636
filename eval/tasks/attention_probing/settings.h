// Settings of the task "attention_probing".
#pragma once

#include <cstdint>

#include "eval/tasks/settings.h"

namespace assay::eval::attention_probing {

/// What it takes of ood_probing's classes and texts: it holds their tokens.
struct AttentionConfig {
  int64_t classes = 6, train_per_class = 150, test_positives = 150, test_negatives = 300;
  int64_t longest = 128;
};

void describe(config::Fields& fields, AttentionConfig& config);
void make_quick(AttentionConfig& config);

extern const SettingsSection kAttentionSettings;

}  // namespace assay::eval::attention_probing
