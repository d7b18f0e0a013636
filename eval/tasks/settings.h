// Configuration of `assay eval`. The defaults fit WordNet's texts; any labelled data set works with
// other names.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "data/base/config_fields.h"

namespace assay::eval {

/// The OOD probing task: which labels say class, domain and filter, and how much text each probe
/// gets.
struct OodConfig {
  std::string class_label = "category";
  std::string domain_label = "format", source = "definition", target = "example";
  std::string filter_label = "part_of_speech", filter_class = "noun";
  int64_t classes = 15, min_target = 20;
  int64_t train_per_class = 300, test_positives = 400, test_negatives = 1200;
  std::vector<int64_t> top_k{1, 4, 16, 128};
  int64_t headline_k = 4, pca = 50, neighbours = 32;
};

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
struct GoalHalvesConfig : HiddenGoalsConfig {
  GoalHalvesConfig();
  int64_t steps = 40, batch = 32, emphasis = 25, steered_per_class = 1;
  double learning_rate = 3e-4;
};

/// Organisms that are low-rank adapters at the dictionary's layer. Shares are of the mean length of
/// activations.
struct GoalAdaptersConfig : HiddenGoalsConfig {
  GoalAdaptersConfig();
  int64_t drift = 10, drift_rank = 4;
};

/// The same probes with few, skewed or wrong training labels; texts and classes are ood_probing's.
struct RegimesConfig {
  std::vector<int64_t> scarcity{4, 16, 64}, positive_percent{5, 20}, flipped_percent{10, 20, 40};
};

/// A second shift: probes that learn a theme on one kind of word, tested on another kind. Texts are
/// ood_probing's source texts; filter_label tells the kinds apart.
struct ThemesConfig {
  std::string source = "noun", target = "verb";  ///< classes of ood_probing.filter_label
  std::vector<std::string> pairs{"noun.body=verb.body",
                                 "noun.cognition=verb.cognition",
                                 "noun.communication=verb.communication",
                                 "noun.feeling=verb.emotion",
                                 "noun.possession=verb.possession",
                                 "noun.food=verb.consumption",
                                 "noun.phenomenon=verb.weather"};
};

struct StabilityConfig {
  int64_t latents = 1024;
};

/// The spurious-correlation task: classes that go with a format in training and not in the test,
/// and fixes.
struct SpuriousConfig {
  std::string class_label = "category", format_label = "format", usual = "definition",
              other = "example";
  std::string filter_label = "part_of_speech", filter_class = "noun", reference_class = "verb";
  int64_t classes = 8, min_texts = 40;
  int64_t train_per_class = 120, test_positives = 200, test_negatives = 400, format_texts = 1500;
  std::vector<int64_t> shares{100, 50};
  std::vector<int64_t> latents{16, 64, 256, 512, 1536}, inlp{4, 16, 64, 128, 256};
  std::vector<int64_t> paired{1, 2, 4, 8, 16, 64, 256}, neurons{4, 16, 64, 256},
      covariate{1, 3, 10, 30, 100};
  std::vector<int64_t> ablate{2, 5, 10, 20, 50, 100, 500};
  int64_t headline_ablate = 20;
};

struct SpliceConfig {
  int64_t texts = 400, batch = 32;
};

/// The unlearning task. Counts are texts of each class; docs/evaluation.md has the protocol.
struct UnlearningConfig {
  std::string class_label = "category";
  std::string domain_label = "format", domain_class = "definition";
  std::string filter_label = "part_of_speech", filter_class = "noun";
  int64_t seeds = 1, classes = 13, longest = 24;
  int64_t estimate = 110, tune_train = 16, tune_test = 24, tune_retain = 10, train = 100,
          test = 100, retain = 40;
  std::vector<int64_t> latents{4, 16, 64, 256}, clamps{0, 1, 4};
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

/// Language models that may hide a word; the data set says which organisms and candidates there
/// are.
struct GoalTextConfig {
  std::vector<int64_t> latents{1, 4, 16};
  int64_t exemplars = 20;
};

struct EvalConfig {
  int64_t seeds = 2, resamples = 1000;
  std::vector<std::string> nulls{"random"};
  OodConfig ood;
  GoalScorersConfig hidden_goals;
  GoalAdaptersConfig hidden_goals_diff;
  GoalHalvesConfig hidden_goals_upper;
  GoalTextConfig hidden_goals_text;
  RegimesConfig regimes;
  ThemesConfig themes;
  StabilityConfig stability;
  SpuriousConfig spurious;
  SpliceConfig splice;
  UnlearningConfig unlearning;
  UnlearningTextConfig unlearning_text;
};

/// Lowers what costs time: one evaluation seed, fewer resamples, fewer texts. For a look, not for
/// publication.
void make_quick(EvalConfig& config);

void describe(config::Fields& fields, OodConfig& config);
void describe(config::Fields& fields, GoalScorersConfig& config);
void describe(config::Fields& fields, GoalAdaptersConfig& config);
void describe(config::Fields& fields, GoalHalvesConfig& config);
void describe(config::Fields& fields, GoalTextConfig& config);
void describe(config::Fields& fields, RegimesConfig& config);
void describe(config::Fields& fields, ThemesConfig& config);
void describe(config::Fields& fields, StabilityConfig& config);
void describe(config::Fields& fields, SpuriousConfig& config);
void describe(config::Fields& fields, SpliceConfig& config);
void describe(config::Fields& fields, UnlearningConfig& config);
void describe(config::Fields& fields, UnlearningTextConfig& config);
void describe(config::Fields& fields, EvalConfig& config);

}  // namespace assay::eval
