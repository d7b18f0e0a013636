// Settings of the probing tasks. The defaults fit WordNet's texts; any labelled data set works with
// other names.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "eval/tasks/settings.h"

namespace assay::eval::probing {

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

void describe(config::Fields& fields, OodConfig& config);
void make_quick(OodConfig& config);
void describe(config::Fields& fields, RegimesConfig& config);
void make_quick(RegimesConfig& config);
void describe(config::Fields& fields, ThemesConfig& config);
void make_quick(ThemesConfig& config);

extern const SettingsSection kOodSettings, kRegimesSettings, kThemesSettings;

}  // namespace assay::eval::probing
