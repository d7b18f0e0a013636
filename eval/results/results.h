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

#include "eval/statistics/inference.h"

namespace assay::eval {

/// Raised when a member changes its meaning.
inline constexpr int kResultsSchema = 4;

/// One published number. Everything needed to check it stands beside it.
struct Number {
  std::string metric;  ///< "fvu", "auroc", …
  /// the arm, by its name in TaskResult::arms; empty for a property of the dictionary
  std::string method;
  std::string dictionary;  ///< name in Results::dictionaries; empty for a dictionary-free baseline
  std::string part;        ///< "validation", "id", "ood", …
  double value = 0;
  std::optional<std::array<double, 2>> interval;  ///< 95 %
  std::string interval_kind;                      ///< how it was made, and over what
  int64_t n = 0;                                  ///< units the value averages (n_unit says which)
  std::string n_unit;                             ///< "tokens", "classes", …
  std::string unit;                               ///< "" for pure numbers
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

/// An arm by which dictionaries are compared, cell by cell; eval/results/compare.h draws every
/// comparison from these alone, so a task that fills them gets score cards, paired differences and
/// rankings without a line of its own. Arms of one (metric, part) form a table: each has the same
/// cells. A dictionary may have several arms (read-out sizes); the one fixed beforehand is its
/// headline. Baselines have an empty dictionary.
struct Score {
  std::string metric, part, method, dictionary;
  bool headline = false;         ///< of each dictionary's arms exactly one; of baselines none
  bool higher_is_better = true;  ///< the same for the whole table
  std::vector<Cell> cells;       ///< unit = the task's own number for it, the same for every arm
};

/// What a task says of an arm. Numbers and scores name it in `method`; nothing is read out of that
/// name.
struct ArmEntry {
  std::string name;   ///< unique in its task
  std::string label;  ///< for people
  /// "headline" (the arm fixed beforehand), "baseline" (needs no dictionary), "control" (knows
  /// nothing), "ceiling" (knows what none may), "difference" (of two arms) or "" (any other). There
  /// are no scores of controls, ceilings and differences, so that none is ever the best arm.
  std::string role;
  /// what it reads or edits: "activations", "neurons", "latents", "text", …; a "toolbox" chooses
  /// among arms with and without the dictionary, and has no score of the dictionary
  std::string space;
  std::string method;             ///< what it does there: "logistic_regression", "leace", …
  std::optional<int64_t> k = {};  ///< how many neurons, latents or directions of the space
  /// what it costs, for people: how many numbers a probe reads of a text; mostly empty
  std::string reads = {};
};

/// What a task says of a metric.
struct MetricEntry {
  std::string name, label;  ///< as numbers name it; for people
  std::string better;       ///< "higher", "lower" or "" where neither is
  /// what knowing nothing gives: a line in every figure, a word in every table
  std::optional<double> chance = {};
  /// The part whose value describes a dictionary in the summary; mostly empty.
  std::string summary_part = {};
};

/// What a task says of a part of its numbers.
struct PartEntry {
  std::string name, label;        ///< as numbers name it; for people
  std::optional<double> at = {};  ///< its place on an axis: a number of texts, a budget, …
};

/// A dashed line of a figure.
struct ReferenceLine {
  double value = 0;
  std::string label;  ///< for people
};

/// What the report draws of a task, in the order of the task's figures. The kinds are a closed set;
/// what a kind does not name stays empty. Metrics, parts and arms are names; no parts or arms mean
/// all.
///   dots       a value with its interval for every arm (a row) and part, or metric, of several
///              (a colour). `panels` = "dictionary": one chart each, on one axis, with the best arm
///              that needs no dictionary as a line. `order` = "best_first" by the last part.
///   curve      metric over `x`: "k" of the arms, or "part" (PartEntry::at); a line an arm
///   frontier   metrics[1] over metrics[0]: a point a part, a line an arm; of numbers without an
///              arm a point a dictionary, a line through those of one variant and width
///   matrix     a coloured cell for every row of `details` and arm; fields = {row, value}
///   histogram  details = {dictionary: [bin]}; fields = {low, high, count}
///   table      arms down, metrics and parts across
struct Figure {
  std::string kind;
  std::string title = {};  ///< may be empty
  std::string caption;     ///< how to read it
  std::vector<std::string> metrics = {}, parts = {}, arms = {};
  std::vector<ReferenceLine> references = {};
  std::string x = {}, x_title = {};
  std::string details = {};  ///< member of the task's details
  std::vector<std::string> fields = {};
  std::string panels = {}, order = {};
};

struct TaskResult {
  std::string name;      ///< unique
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
  // The words for the numbers (eval/results/words.h looks them up), and what to draw of them.
  std::vector<ArmEntry> arms;
  std::vector<MetricEntry> metrics;
  std::vector<PartEntry> parts;
  std::vector<Figure> figures;
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
  std::vector<std::string> warnings;  ///< what training said against its own result, a line each
  /// hash of its data and of the configuration it trained with, but for seeds; empty if unknown
  std::string setting = {};
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
/// Throws Error naming what the report could not draw or print: a value that JSON cannot say, two
/// arms, metrics or parts of one name, a role or kind that is none, a figure of a metric that is
/// not declared, two scores of one arm in a table, a score whose arm says something else of the
/// headline or can be no candidate for the best: a control, a ceiling, a difference, or an arm
/// without a dictionary that is no baseline.
void check_task(const TaskResult& task);
nlohmann::json to_json(const Results& results);
/// Throws Error naming the file and the member that does not fit.
Results read_results(const std::filesystem::path& file);
/// Written beside, fsynced, renamed.
void write_results(const Results& results, const std::filesystem::path& file);

}  // namespace assay::eval
