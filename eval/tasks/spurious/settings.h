// Settings of the tasks about spurious correlations; debugging draws from the same texts.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "eval/tasks/settings.h"

namespace assay::eval::spurious {

/// Strengths at which fixes are tried, ascending.
struct Grids {
  std::vector<int64_t> latents{16, 64, 256, 512, 1536}, inlp{4, 16, 64, 128, 256};
  std::vector<int64_t> paired{1, 2, 4, 8, 16, 64, 256}, neurons{4, 16, 64, 256},
      covariate{1, 3, 10, 30, 100};
};

/// The spurious-correlation task: classes that go with a format in training and not in the test,
/// and fixes.
struct SpuriousConfig : Grids {
  std::string class_label = "category", format_label = "format", usual = "definition",
              other = "example";
  std::string filter_label = "part_of_speech", filter_class = "noun", reference_class = "verb";
  int64_t classes = 8, min_texts = 40;
  int64_t train_per_class = 120, test_positives = 200, test_negatives = 400, format_texts = 1500;
  std::vector<int64_t> shares{100, 50};
  std::vector<int64_t> ablate{2, 5, 10, 20, 50, 100, 500};
  int64_t headline_ablate = 20;
};

void describe(config::Fields& fields, SpuriousConfig& config);
void make_quick(SpuriousConfig& config);

extern const SettingsSection kSpuriousSettings;

}  // namespace assay::eval::spurious
