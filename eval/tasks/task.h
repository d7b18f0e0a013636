// The evaluation tasks: each has a folder, or a file in its family's folder, and an entry that
// eval/tasks/all.cpp lists. A task plans which texts it needs, the encoding pass runs once for all,
// then each task turns the cache into numbers.
#pragma once

#include <algorithm>
#include <any>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "data/dataset.h"
#include "eval/encoding/dictionaries.h"
#include "eval/encoding/encode_cache.h"
#include "eval/results/plan.h"
#include "eval/results/results.h"
#include "eval/tasks/settings.h"
#include "sae/dictionary.h"
#include "sae/model_half.h"

namespace assay::eval {

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
  /// Test texts come from documents in no training split of these (eval/tasks/documents.h).
  std::vector<data::SplitRule> unseen_by = {};
  /// How much tables like these varied, by which a plan says what they will tell.
  std::vector<TableSpread> spreads = {};

  /// Dictionaries that are no control.
  int64_t trained() const {
    return std::count_if(dictionaries.begin(), dictionaries.end(),
                         [](const EvalDictionary& d) { return d.entry.null_kind.empty(); });
  }
};

/// The session's texts; those that tests may not use are marked. Tasks ask for this one.
TextTable text_table(const Session& session);

/// What a task is going to do; each task has its own.
using TaskPlan = std::any;

/// What a plan tests.
struct Tested {
  /// by name: classes, goals, data sets; each needs test texts enough
  std::vector<std::string> units;
  std::vector<PlannedTable> tables;  ///< the scores that it leads to; the task's name is left out
};

/// Holds no state: plan() says what is going to be done, run() does it.
class Task {
 public:
  virtual ~Task() = default;
  /// Empty if the task can run; else what is missing. UsageError on settings that cannot be met.
  virtual std::string missing(const Session&) const { return {}; }
  /// Adds to the encoding pass. An exception fails this task alone.
  virtual TaskPlan plan(const Session& session, EncodeRequest& request) const = 0;
  /// Empty for a task that samples no test texts by label and is scored by nothing.
  virtual Tested tested(const Session&, const TaskPlan&) const { return {}; }
  /// Fills numbers, checks and details, by what plan() returned. An exception fails this task
  /// alone.
  virtual void run(const Session& session, const EncodeCache& cache, const TaskPlan& plan,
                   TaskResult& result) const = 0;
};

/// A task whose plan is a Plan.
template <class Plan>
class PlannedTask : public Task {
 public:
  TaskPlan plan(const Session& session, EncodeRequest& request) const final {
    return make_plan(session, request);
  }
  void run(const Session& session, const EncodeCache& cache, const TaskPlan& plan,
           TaskResult& result) const final {
    run_plan(session, cache, std::any_cast<const Plan&>(plan), result);
  }
  Tested tested(const Session& session, const TaskPlan& plan) const final {
    return tested_by(session, std::any_cast<const Plan&>(plan));
  }

 private:
  virtual Plan make_plan(const Session& session, EncodeRequest& request) const = 0;
  virtual void run_plan(const Session& session, const EncodeCache& cache, const Plan& plan,
                        TaskResult& result) const = 0;
  virtual Tested tested_by(const Session&, const Plan&) const { return {}; }
};

/// A task as the table of tasks knows it.
struct TaskEntry {
  const char* name;        ///< "core"
  const char* title;       ///< for people
  const char* question;    ///< who needs this answer for what decision
  bool by_default = true;  ///< false: takes long, runs only if it is named
  std::unique_ptr<Task> (*make)();
};

template <class T>
std::unique_ptr<Task> make_task() {
  return std::make_unique<T>();
}

/// For Task::missing: empty where the session's model has halves of this kind, else what is needed.
/// Of a folder that cannot be opened nothing is said here: the task then fails with the reason.
std::string lacks_halves(const Session& session, sae::HalfOutput output);
/// The same where a dictionary normalises every row: latents are then moved along decoder rows by
/// another factor in each, which tasks that edit activations do not do.
std::string lacks_plain_rows(const Session& session);

/// All tasks, in the order they run and are reported (eval/tasks/all.cpp).
const std::vector<const TaskEntry*>& task_entries();

struct ChosenTask {
  const TaskEntry* entry;
  std::unique_ptr<Task> task;
};

/// The tasks of these names (if there are none, all that run by default and can; those left out are
/// logged). Throws UsageError on an unknown name (the nearest is named) and on a named task that
/// cannot run.
std::vector<ChosenTask> choose_tasks(const std::vector<std::string>& names, const Session& session);

/// The tasks' plans, before anything is encoded.
struct EvalPlan {
  std::vector<PlannedTable> tables;
  std::vector<TaskResult> failed;  ///< tasks that cannot be planned, with the reason
};
EvalPlan plan_tasks(const Session& session, const std::vector<ChosenTask>& tasks);

/// Runs them: plans, one encoding pass, then each. One failing task never stops the others. A task
/// with a failed check is "withheld". details["settings"] is the resolved evaluation configuration,
/// as YAML.
std::vector<TaskResult> run_tasks(const Session& session, const std::vector<ChosenTask>& tasks);

/// Did the dictionary train on the activations of any of these documents? False for a control that
/// never trained, nothing where the dictionary does not say what it trained on, or names another
/// data set.
std::optional<bool> seen_in_training(const Session& session, const EvalDictionary& dictionary,
                                     const std::vector<int64_t>& documents);

/// The same of every dictionary of the session.
std::vector<std::optional<bool>> seen_by_dictionary(const Session& session,
                                                    const std::vector<int64_t>& documents);

/// The name of a dictionary of the session, "" if there is none.
std::string dictionary_name(const Session& session, std::optional<size_t> index);

/// The control that a dictionary's numbers are to be read against: its kind for a control, else the
/// first control that was built like it, "" if there is none.
std::string control_of(const Session& session, const EvalDictionary& dictionary);

/// The same for an arm on the dictionary, nullptr if the task does not declare it: an arm whose
/// role is "control" is its own.
std::string control_of(const Session& session, const EvalDictionary& dictionary,
                       const ArmEntry* arm);

/// The rule that the trained dictionaries of this data set share; `otherwise` where none names one.
/// Throws UsageError where two dictionaries trained on this data set with different rules: no part
/// is unseen by both.
data::SplitRule common_split_rule(const data::Dataset& dataset,
                                  const std::vector<EvalDictionary>& dictionaries,
                                  const data::SplitRule& otherwise);

}  // namespace assay::eval
