// Settings of the hidden-goal tasks.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "eval/tasks/settings.h"

namespace assay::eval::hidden_goals {

/// A hidden-goal task: candidate goals, texts of each part, and how many organisms.
struct HiddenGoalsConfig {
  std::string class_label = "category", filter_label = "part_of_speech", filter_class = "noun";
  int64_t classes = 24, min_texts = 20, longest = 1000;
  int64_t train_per_class = 200, audit_per_class = 60, concepts_per_class = 120,
          query_per_class = 120;
  std::vector<int64_t> strengths{20, 40, 100};
  int64_t headline_strength = 40;
  int64_t benign = 24, calibration = 8;
  std::vector<int64_t> latents{5, 20, 100}, class_latents{4, 16, 64}, exemplar_texts{25, 100, 400};
  int64_t exemplars = 20;
};

/// Organisms that are small networks on pooled activations.
struct GoalScorersConfig : HiddenGoalsConfig {
  int64_t hidden = 64, epochs = 20;
};

/// Organisms that are fine-tuned upper halves: fewer and shorter texts, since each of them runs
/// through the model.
struct GoalUpperConfig : HiddenGoalsConfig {
  GoalUpperConfig();
  int64_t steps = 40, batch = 32, emphasis = 25, steered_per_class = 1;
  double learning_rate = 3e-4;
};

/// Organisms that are low-rank adapters at the dictionary's layer. Shares are of the mean length of
/// activations.
struct GoalAdaptersConfig : HiddenGoalsConfig {
  GoalAdaptersConfig();
  int64_t drift = 10, drift_rank = 4;
};

/// Language models that may hide a word; the data set says which organisms and candidates there
/// are.
struct GoalTextConfig {
  std::vector<int64_t> latents{1, 4, 16};
  int64_t exemplars = 20;
};

void describe(config::Fields& fields, GoalScorersConfig& config);
void make_quick(GoalScorersConfig& config);
void describe(config::Fields& fields, GoalUpperConfig& config);
void make_quick(GoalUpperConfig& config);
void describe(config::Fields& fields, GoalAdaptersConfig& config);
void make_quick(GoalAdaptersConfig& config);
void describe(config::Fields& fields, GoalTextConfig& config);
void make_quick(GoalTextConfig& config);

extern const SettingsSection kGoalScorersSettings, kGoalAdaptersSettings, kGoalUpperSettings,
    kGoalTextSettings;

}  // namespace assay::eval::hidden_goals
