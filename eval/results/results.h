// The results schema: what every task reports and what the report draws. docs/results.md describes
// the JSON.
#pragma once

#include <array>
#include <cstdint>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

namespace assay::eval {

/// Raised when a member changes its meaning.
inline constexpr int kResultsSchema = 2;

/// One published number. Everything needed to check it stands beside it.
struct Number {
  std::string metric;  ///< "fvu", "auroc", …
  /// arm: "dense_lr", "latents_top4", … ; empty for a property of the dictionary
  std::string method;
  std::string dictionary;  ///< name in Results::dictionaries; empty for a dictionary-free baseline
  std::string part;        ///< "validation", "id", "ood", …
  double value = 0;
  std::optional<std::array<double, 2>> interval;  ///< 95 %
  std::string interval_kind;                      ///< how it was made, and over what
  int64_t n = 0;                                  ///< units the value averages (n_unit says which)
  std::string n_unit;                             ///< "tokens", "classes", …
  uint64_t seed = 0;
  std::string unit;  ///< "" for pure numbers
  /// did the dictionary train on the test texts' activations?
  std::optional<bool> test_seen_in_training;
  /// the control this is, or is to be read against; empty otherwise
  std::string control;
};

/// A task's check on itself: a failed one withholds the task from summaries.
struct Check {
  std::string name;
  bool passed = false;
  std::string detail;
};

/// One cell of a score: what a dictionary (or a baseline) got on one unit in one run.
struct ScoreCell {
  int64_t unit = 0;  ///< class, goal, concept: the task's own number for it, the same for every arm
  int64_t run = 0;   ///< evaluation seed or swap
  double value = 0;
};

/// An arm by which dictionaries are compared, cell by cell; eval/results/compare.h draws every
/// comparison from these alone, so a task that fills them gets score cards, paired differences and
/// rankings without a line of its own. Arms of one (metric, part) form a table: each has the same
/// cells. A dictionary may have several arms (read-out sizes); the one fixed beforehand is its
/// headline. Baselines have an empty dictionary.
struct Score {
  std::string metric, part, method, dictionary;
  bool headline = false;         ///< of each dictionary's arms exactly one; of baselines none
  bool higher_is_better = true;  ///< the same for the whole table
  std::vector<ScoreCell> cells;
};

struct TaskResult {
  std::string name;      ///< "core", "ood_probing", …
  std::string title;     ///< for people
  std::string question;  ///< who needs this answer for what decision
  /// "ok", "withheld" (a check failed) or "failed" (an error; the others go on)
  std::string status;
  std::string reason;  ///< for withheld and failed, one line
  /// what to know before citing its verdicts, one line, printed beside each; mostly empty
  std::string caveat;
  double seconds = 0;
  std::vector<Number> numbers;
  std::vector<Score> scores;  ///< empty where dictionaries are not ranked by this task
  std::vector<Check> checks;
  /// per class tables, histograms; each task's own
  nlohmann::json details = nlohmann::json::object();
};

struct DictionaryEntry {
  std::string name, path, hash, variant, null_kind;
  int64_t d = 0, n = 0, k = 0, tokens = 0;
  uint64_t seed = 0;
  bool same_data = false;  ///< trained on this very data set
  /// of a control: the dictionary it was built like; empty where it was trained and passed
  std::string parent;
};

/// A dictionary that was asked for and could not be evaluated on this data.
struct LeftOut {
  std::string name, path;
  std::string reason;  ///< one line
};

struct Results {
  std::string version;  ///< assay's
  std::string dataset, dataset_hash, model, hook, split_rule;
  uint64_t seed = 0;
  std::vector<DictionaryEntry> dictionaries;
  std::vector<TaskResult> tasks;
  std::vector<LeftOut> left_out;
};

/// What types alone do not say: names refer to something and are unique, states are known. Throws
/// Error.
void check_references(const Results& results);
/// Throws Error naming the first member of a task that JSON could not say.
void check_finite(const TaskResult& task);
nlohmann::json to_json(const Results& results);
/// Throws Error naming the file and the member that does not fit.
Results read_results(const std::filesystem::path& file);
/// Written beside, fsynced, renamed.
void write_results(const Results& results, const std::filesystem::path& file);

}  // namespace assay::eval
