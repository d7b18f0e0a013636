// Settings of the unlearning tasks.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "eval/tasks/settings.h"

namespace assay::eval::unlearning {

/// The unlearning task. Counts are texts of each class; docs/tasks/unlearning.md has the protocol.
struct UnlearningConfig {
  std::string class_label = "category";
  std::string domain_label = "format", domain_class = "definition";
  std::string filter_label = "part_of_speech", filter_class = "noun";
  int64_t seeds = 1, classes = 13, longest = 24;
  int64_t estimate = 110, tune_train = 16, tune_test = 24, tune_retain = 10, train = 100,
          test = 100, retain = 40;
  std::vector<int64_t> latents{4, 16, 64, 256}, clamps{0, 1, 2, 4};
  std::vector<int64_t> labels{4, 8, 16, 32}, budgets{1, 2, 5};
  int64_t headline_labels = 8, neighbours = 2, padding = 16, batch = 32;
};

/// The unlearning task on a language model: corpora are the classes of a label. Counts are texts of
/// each corpus.
struct UnlearningTextConfig {
  std::string corpus_label = "corpus", forget = "forget";
  int64_t longest = 256;
  int64_t estimate = 200, tune = 100, test = 200;
  std::vector<int64_t> latents{4, 16, 64}, clamps{0, 5, 10, 20, 40};
  std::vector<int64_t> budgets{1, 2, 5};
  int64_t continuations = 40, prompt = 8, generated = 12;
  int64_t batch = 8;
};

void describe(config::Fields& fields, UnlearningConfig& config);
void make_quick(UnlearningConfig& config);
void describe(config::Fields& fields, UnlearningTextConfig& config);
void make_quick(UnlearningTextConfig& config);

extern const SettingsSection kUnlearningSettings, kUnlearningTextSettings;

}  // namespace assay::eval::unlearning
