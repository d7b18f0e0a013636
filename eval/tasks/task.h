// The evaluation tasks: one a file, listed once in tasks.cpp. A task says which texts it needs, the
// encoding pass runs once for all, then each task turns the cache into numbers.
#pragma once

#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "data/dataset.h"
#include "eval/encoding/encode_cache.h"
#include "eval/results/results.h"
#include "eval/tasks/settings.h"
#include "sae/dictionary.h"
#include "sae/model_half.h"

namespace assay::eval {

/// A dictionary under evaluation, trained or control (entry.null_kind, entry.parent).
struct EvalDictionary {
  DictionaryEntry entry;
  sae::Dictionary dictionary;
};

/// What every task reads. References outlive the tasks.
struct Session {
  Context& context;
  const data::Dataset& dataset;
  const EvalConfig& config;
  const std::vector<EvalDictionary>& dictionaries;
  data::SplitRule rule;  ///< whose validation part core and splice are measured on
  uint64_t seed = 0;
  std::filesystem::path model;  ///< folder with the model's halves; empty = none given
  bool trust_model_code = false;
  std::function<void(const std::string&)> log;  ///< one line a step, and whatever is left out
};

class Task {
 public:
  virtual ~Task() = default;
  virtual std::string name() const = 0;      ///< "core"
  virtual std::string title() const = 0;     ///< for people
  virtual std::string question() const = 0;  ///< who needs this answer for what decision
  /// false: takes long, runs only where it is named
  virtual bool by_default() const { return true; }
  /// Empty where the task can run; else what is missing, e.g. "needs --model".
  virtual std::string missing(const Session&) const { return {}; }
  /// Adds to the encoding pass. An exception fails this task alone.
  virtual void request(const Session& session, EncodeRequest& request) = 0;
  /// Fills numbers, checks and details. An exception fails this task alone.
  virtual void run(const Session& session, const EncodeCache& cache, TaskResult& result) = 0;
};

/// For Task::missing: empty where the session's model has halves of this kind, else what is needed.
/// Of a folder that cannot be opened nothing is said here: the task then fails with the reason.
std::string lacks_halves(const Session& session, sae::HalfOutput output);

/// All tasks, in the order they run and are reported. Adding one: its file, and its line in
/// tasks.cpp.
std::vector<std::unique_ptr<Task>> all_tasks();

/// The tasks of these names (where `names` is empty, all that run by default and can; those left
/// out are logged). Throws UsageError on an unknown name (the nearest is named) and on a named task
/// that cannot run.
std::vector<std::unique_ptr<Task>> choose_tasks(const std::vector<std::string>& names,
                                                const Session& session);

/// Runs them: requests, one pass, then each. One failing task never stops the others. A task with a
/// failed check is "withheld". details["settings"] is the resolved evaluation configuration, as
/// YAML.
std::vector<TaskResult> run_tasks(const Session& session,
                                  std::vector<std::unique_ptr<Task>>& tasks);

/// Did the dictionary train on the activations of any of these documents? False for a control that
/// never trained, nothing where the dictionary does not say what it trained on, or names another
/// data set.
std::optional<bool> seen_in_training(const Session& session, const EvalDictionary& dictionary,
                                     const std::vector<int64_t>& documents);

/// "validation=0.05,test=0.05,seed=0", the form of DictionaryInfo::split_rule; nothing where it
/// does not parse.
std::optional<data::SplitRule> parse_split_rule(const std::string& text);
std::string format_split_rule(const data::SplitRule& rule);

/// The rule that the trained dictionaries of this data set share; `otherwise` where none names one.
/// Throws UsageError where two dictionaries trained on this data set with different rules: no part
/// is unseen by both.
data::SplitRule common_split_rule(const data::Dataset& dataset,
                                  const std::vector<EvalDictionary>& dictionaries,
                                  const data::SplitRule& otherwise);

}  // namespace assay::eval
