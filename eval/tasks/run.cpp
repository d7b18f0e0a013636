#include <fmt/format.h>

#include <algorithm>
#include <chrono>

#include "data/split_rule.h"
#include "eval/tasks/documents.h"
#include "eval/tasks/task.h"
#include "kernels/base/error.h"

namespace assay::eval {
namespace {

double seconds_since(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

void fail(TaskResult& result, const std::exception& error) {
  result.status = "failed";
  result.reason = error.what();
  result.numbers.clear();
  result.scores.clear();
  result.arms.clear();
  result.metrics.clear();
  result.parts.clear();
  result.figures.clear();
  result.caveat.clear();
  result.details = {{"settings", result.details["settings"]}};
}

void withhold_on_failed_checks(TaskResult& result) {
  for (const Check& check : result.checks) {
    if (check.passed || result.status == "withheld") continue;
    result.status = "withheld";
    result.reason = fmt::format("check '{}' failed: {}", check.name, check.detail);
  }
}

/// One pass for all tasks; where it throws, every task fails for the same reason.
std::optional<EncodeCache> encode(const Session& session, const EncodeRequest& request,
                                  std::vector<TaskResult>& results) {
  try {
    std::optional<TextTable> texts;
    if (!request.texts.empty()) texts = text_table(session.dataset);
    std::vector<const sae::Dictionary*> dictionaries;
    for (const EvalDictionary& d : session.dictionaries) dictionaries.push_back(&d.dictionary);
    return encode_once(session.context, session.dataset, texts ? &*texts : nullptr, dictionaries,
                       request, session.rule);
  } catch (const UsageError&) {
    throw;
  } catch (const std::exception& error) {
    for (TaskResult& result : results)
      if (result.status == "ok") fail(result, error);
    return std::nullopt;
  }
}

/// What planning leaves behind, one entry a task.
struct Planned {
  std::vector<TaskResult> results;
  std::vector<TaskPlan> plans;
  EncodeRequest request;
  std::vector<PlannedTable> tables;
};

Planned plan_all(const Session& session, const std::vector<ChosenTask>& tasks) {
  Planned all{std::vector<TaskResult>(tasks.size()), std::vector<TaskPlan>(tasks.size()), {}, {}};
  EvalConfig config = session.config;
  const std::string settings =
      config::write_yaml([&](config::Fields& fields) { describe(fields, config); });
  for (size_t i = 0; i < tasks.size(); ++i) {
    TaskResult& result = all.results[i];
    result.name = tasks[i].entry->name;
    result.title = tasks[i].entry->title;
    result.question = tasks[i].entry->question;
    result.status = "ok";
    result.details["settings"] = settings;
    try {
      PlannedTexts own = plan_texts(session, *tasks[i].task);
      for (PlannedTable& table : tasks[i].task->tested(session, own.plan).tables) {
        table.task = result.name;
        all.tables.push_back(std::move(table));
      }
      all.plans[i] = std::move(own.plan);
      if (own.request.statistics) all.request.statistics = own.request.statistics;
      all.request.other_poolings |= own.request.other_poolings;
      all.request.add_texts(own.request.texts);
      if (own.documents.empty()) continue;
      result.details["documents"] = own.documents;
      session.log(fmt::format("task {}: documents: {}", result.name, own.documents));
    } catch (const std::exception& error) {
      fail(result, error);
    }
  }
  return all;
}

/// What the tables are going to tell, before the work.
void log_power(const Session& session, const std::vector<PlannedTable>& tables) {
  for (const Power& power : power_of(tables, session.spreads, session.trained()))
    session.log(fmt::format("task {}: {}", power.table.task, power_text(power)));
}

}  // namespace

std::string lacks_halves(const Session& session, sae::HalfOutput output) {
  const bool embedding = output == sae::HalfOutput::embedding;
  const char* wanted = embedding ? "a sentence encoder" : "a causal language model";
  if (session.model.empty())
    return fmt::format("needs --model, the folder with the exported halves of {}", wanted);
  try {
    if (sae::ModelFolder::open(session.model, session.trust_model_code).output == output) return {};
  } catch (const Error&) {
    return {};
  }
  return fmt::format("needs the halves of {}, {} has those of {}", wanted, session.model.string(),
                     embedding ? "a causal language model" : "a sentence encoder");
}

std::string lacks_plain_rows(const Session& session) {
  for (const EvalDictionary& d : session.dictionaries) {
    if (d.dictionary.info.input_norm == "none") continue;
    return fmt::format(
        "edits activations along decoder rows, which dictionary '{}' scales row by row ({}): "
        "evaluate the others without it",
        d.entry.name, d.dictionary.info.input_norm);
  }
  return {};
}

std::vector<ChosenTask> choose_tasks(const std::vector<std::string>& names,
                                     const Session& session) {
  std::vector<ChosenTask> chosen;
  std::vector<std::string> known;
  for (const TaskEntry* entry : task_entries()) {
    known.emplace_back(entry->name);
    const bool named = std::find(names.begin(), names.end(), entry->name) != names.end();
    if (!names.empty() && !named) continue;
    if (!named && !entry->by_default) {
      session.log(fmt::format("task '{0}' is left out: it takes long; ask for it with --tasks {0}",
                              entry->name));
      continue;
    }
    std::unique_ptr<Task> task = entry->make();
    const std::string missing = task->missing(session);
    if (named && !missing.empty())
      throw UsageError(fmt::format("task '{}' {}", entry->name, missing));
    if (missing.empty())
      chosen.push_back({entry, std::move(task)});
    else
      session.log(fmt::format("task '{}' is left out: it {}", entry->name, missing));
  }
  for (const std::string& name : names)
    if (std::find(known.begin(), known.end(), name) == known.end()) {
      const std::string near = config::nearest(name, known);
      throw UsageError(fmt::format("no task '{}'{}: the tasks are {}", name,
                                   near.empty() ? "" : " (nearest: " + near + ")",
                                   fmt::join(known, ", ")));
    }
  return chosen;
}

EvalPlan plan_tasks(const Session& session, const std::vector<ChosenTask>& tasks) {
  Planned all = plan_all(session, tasks);
  std::erase_if(all.results, [](const TaskResult& result) { return result.status == "ok"; });
  return {std::move(all.tables), std::move(all.results)};
}

std::vector<TaskResult> run_tasks(const Session& session, const std::vector<ChosenTask>& tasks) {
  auto [results, plans, request, tables] = plan_all(session, tasks);
  log_power(session, tables);
  auto start = std::chrono::steady_clock::now();
  session.log(fmt::format("encoding for {} dictionaries", session.dictionaries.size()));
  const std::optional<EncodeCache> cache = encode(session, request, results);
  session.log(fmt::format("encoded in {:.1f} s", seconds_since(start)));
  for (size_t i = 0; i < tasks.size(); ++i) {
    if (results[i].status == "ok") {
      start = std::chrono::steady_clock::now();
      try {
        tasks[i].task->run(session, *cache, plans[i], results[i]);
        check_task(results[i]);
        withhold_on_failed_checks(results[i]);
      } catch (const std::exception& error) {
        fail(results[i], error);
      }
      results[i].seconds = seconds_since(start);
    }
    session.log(fmt::format("task {}: {} in {:.1f} s{}{}", results[i].name, results[i].status,
                            results[i].seconds, results[i].reason.empty() ? "" : ": ",
                            results[i].reason));
  }
  return results;
}

std::optional<bool> seen_in_training(const Session& session, const EvalDictionary& dictionary,
                                     const std::vector<int64_t>& documents) {
  const sae::DictionaryInfo& info = dictionary.dictionary.info;
  if (info.null_kind == "random") return false;
  const auto rule = data::parse_split_rule(info.split_rule);
  if (!rule || info.data_hash.empty() || info.data_hash != session.dataset.info().content_hash)
    return std::nullopt;
  return std::any_of(documents.begin(), documents.end(), [&](int64_t document) {
    return data::split_of(document, *rule) == data::Split::train;
  });
}

std::vector<std::optional<bool>> seen_by_dictionary(const Session& session,
                                                    const std::vector<int64_t>& documents) {
  std::vector<std::optional<bool>> seen;
  for (const EvalDictionary& dictionary : session.dictionaries)
    seen.push_back(seen_in_training(session, dictionary, documents));
  return seen;
}

std::string dictionary_name(const Session& session, std::optional<size_t> index) {
  return index ? session.dictionaries[*index].entry.name : "";
}

std::string control_of(const Session& session, const EvalDictionary& dictionary) {
  if (!dictionary.entry.null_kind.empty()) return dictionary.entry.null_kind;
  for (const EvalDictionary& d : session.dictionaries)
    if (d.entry.parent == dictionary.entry.name) return d.entry.name;
  return {};
}

std::string control_of(const Session& session, const EvalDictionary& dictionary,
                       const ArmEntry* arm) {
  return arm && arm->role == "control" ? arm->name : control_of(session, dictionary);
}

data::SplitRule common_split_rule(const data::Dataset& dataset,
                                  const std::vector<EvalDictionary>& dictionaries,
                                  const data::SplitRule& otherwise) {
  std::optional<data::SplitRule> common;
  std::string owner;
  for (const EvalDictionary& d : dictionaries) {
    const sae::DictionaryInfo& info = d.dictionary.info;
    if (!info.null_kind.empty() || info.data_hash.empty() ||
        info.data_hash != dataset.info().content_hash)
      continue;
    const auto rule = data::parse_split_rule(info.split_rule);
    if (!rule) continue;
    if (common && data::format_split_rule(*common) != data::format_split_rule(*rule))
      throw UsageError(fmt::format(
          "dictionaries {} and {} trained with different splits ({} and {}): no validation part is "
          "unseen by both; evaluate them apart",
          owner, d.entry.name, data::format_split_rule(*common), info.split_rule));
    common = rule;
    owner = d.entry.name;
  }
  return common.value_or(otherwise);
}

}  // namespace assay::eval
