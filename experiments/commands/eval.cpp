// assay eval: proxy tasks on dictionaries, beside baselines and controls.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <optional>

#include "data/base/json_file.h"
#include "data/base/lease.h"
#include "data/base/output_guard.h"
#include "data/base/say.h"
#include "data/split_rule.h"
#include "eval/encoding/dictionaries.h"
#include "eval/encoding/trained_nulls.h"
#include "eval/report/report.h"
#include "eval/results/compare.h"
#include "eval/tasks/task.h"
#include "experiments/commands/commands.h"
#include "experiments/commands/common_options.h"
#include "experiments/commands/config.h"
#include "experiments/commands/print_json.h"
#include "kernels/base/error.h"

namespace assay::commands {
namespace {

struct Options {
  std::vector<std::filesystem::path> dictionaries;
  std::filesystem::path data, model, out, like;
  std::string config;
  std::vector<std::string> tasks, nulls, trained_nulls, overrides;
  bool list = false, plan = false, quick = false, json = false, trust_model_code = false;
  uint64_t seed = 0;
  int threads = 0;
};

void log_line(const std::string& line) { data::say(fmt::format("eval: {}\n", line)); }

void list_tasks() {
  for (const eval::TaskEntry* task : eval::task_entries())
    fmt::print("{:<17} {}\n{:<17} {}\n", task->name, task->title, "", task->question);
}

Config read_config(Options& options) {
  if (options.config.empty() && !options.overrides.empty())
    throw UsageError("eval: --set needs --config");
  Config config;
  if (!options.config.empty())
    config::read_yaml(options.config, options.overrides,
                      [&](config::Fields& fields) { describe(fields, config); });
  if (options.data.empty()) options.data = config.data.path;
  if (!options.nulls.empty()) config.eval.nulls = options.nulls;
  if (config.eval.nulls == std::vector<std::string>{"none"}) config.eval.nulls.clear();
  if (options.quick) eval::make_quick(config.eval);
  return config;
}

/// The kinds that are built, and those that are trained.
std::pair<std::vector<std::string>, std::vector<std::string>> split_nulls(
    const std::vector<std::string>& kinds) {
  const std::vector<std::string> all = eval::trained_null_kinds();
  std::pair<std::vector<std::string>, std::vector<std::string>> result;
  for (const std::string& kind : kinds) {
    const bool trained = std::find(all.begin(), all.end(), kind) != all.end();
    (trained ? result.second : result.first).push_back(kind);
  }
  return result;
}

void check_required(const Options& options) {
  if (options.dictionaries.empty())
    throw UsageError("eval: no dictionary given: name a run or a dictionary folder");
  if (options.data.empty())
    throw UsageError(
        "eval: --data (or data.path in the configuration) is required: the folder of shards to "
        "evaluate on");
  if (options.out.empty() && !options.plan)
    throw UsageError("eval: --out is required: the folder that results.json goes to");
}

eval::Results make_results(const data::Dataset& dataset, const eval::Session& session) {
  eval::Results results;
  results.version = ASSAY_VERSION;
  results.dataset = data::as_utf8(dataset.info().path.string());
  results.dataset_hash = dataset.info().content_hash;
  results.model = dataset.info().model;
  results.hook = dataset.info().hook;
  results.split_rule = data::format_split_rule(session.rule);
  results.seed = session.seed;
  for (const auto& dictionary : session.dictionaries)
    results.dictionaries.push_back(dictionary.entry);
  return results;
}

/// What this evaluation will be, before the work: tasks by name and settings.
eval::Results planned(eval::Results results, const Config& config,
                      const std::vector<eval::ChosenTask>& tasks) {
  eval::EvalConfig own = config.eval;
  const std::string settings =
      config::write_yaml([&](config::Fields& fields) { describe(fields, own); });
  for (const eval::ChosenTask& task : tasks) {
    results.tasks.emplace_back();
    results.tasks.back().name = task.entry->name;
    results.tasks.back().details["settings"] = settings;
  }
  return results;
}

/// What an earlier evaluation left in the folder. Throws UsageError where this one cannot be added
/// to it.
std::optional<eval::Results> earlier_results(const std::filesystem::path& file,
                                             const eval::Results& plan) {
  if (!std::filesystem::exists(file)) return std::nullopt;
  std::optional<eval::Results> earlier;
  try {
    earlier = eval::read_results(file);
  } catch (const Error& error) {
    throw UsageError(fmt::format("{}; it would be replaced: choose another --out", error.what()));
  }
  const std::string why = eval::why_not_added(*earlier, plan);
  if (why.empty()) return earlier;
  throw UsageError(
      fmt::format("{}: holds results that these cannot be added to ({}): choose another --out",
                  file.string(), why));
}

/// NAME-2.json, NAME-3.json, ...: the first that is free.
std::filesystem::path free_name(const std::filesystem::path& file) {
  for (int i = 2;; ++i) {
    std::filesystem::path other = file;
    other.replace_filename(fmt::format("{}-{}.json", file.stem().string(), i));
    if (!std::filesystem::exists(other)) return other;
  }
}

void compare_and_write(eval::Results& results, const std::filesystem::path& file) {
  const eval::Comparison comparison = eval::compare(results);
  if (!comparison.panel.empty()) results.tasks.push_back(eval::comparison_task(comparison));
  eval::write_results(results, file);
}

/// Beside what the folder holds already; results that cannot be compared with it go to a file of
/// their own, for they took hours.
void add_and_write(const eval::Results& earlier, eval::Results& results,
                   const std::filesystem::path& file) {
  eval::Results merged = eval::add_results(earlier, results);
  try {
    compare_and_write(merged, file);
  } catch (const Error& error) {
    const std::filesystem::path other = free_name(file);
    compare_and_write(results, other);
    throw Error(
        fmt::format("{}: the new results cannot stand beside the earlier ones ({}); they are in {}",
                    file.string(), error.what(), other.string()));
  }
  results = std::move(merged);
}

/// What was asked for and not done, after all that could be done is written.
void fail_on_what_is_missing(const eval::Results& results) {
  std::vector<std::string> failed, missing;
  for (const auto& task : results.tasks)
    if (task.status == "failed") failed.push_back(fmt::format("{} ({})", task.name, task.reason));
  if (!failed.empty())
    missing.push_back(fmt::format("{} of {} tasks failed: {}", failed.size(), results.tasks.size(),
                                  fmt::join(failed, "; ")));
  for (const auto& left : results.left_out)
    missing.push_back(fmt::format("dictionary '{}' was left out: {}", left.name, left.reason));
  if (!missing.empty()) throw Error(fmt::format("{}", fmt::join(missing, "; ")));
}

/// What the evaluation would tell; nothing is encoded or written.
void print_plan(const eval::Session& session, const std::vector<eval::ChosenTask>& tasks,
                bool json) {
  const eval::EvalPlan plan = eval::plan_tasks(session, tasks);
  const std::vector<eval::Power> powers =
      eval::power_of(plan.tables, session.spreads, session.trained());
  if (json)
    print_json(eval::to_json(powers));
  else
    fmt::print("{}", eval::power_table(powers, session.trained()));
  std::vector<std::string> failed;
  for (const eval::TaskResult& task : plan.failed)
    failed.push_back(fmt::format("{} ({})", task.name, task.reason));
  if (!failed.empty())
    throw Error(fmt::format("{} of {} tasks cannot run: {}", failed.size(), tasks.size(),
                            fmt::join(failed, "; ")));
}

void evaluate(Options options) {
  if (options.list) return list_tasks();
  const Config config = read_config(options);
  check_required(options);
  using data::FolderKind;
  if (!options.plan)
    data::guard_folder(options.out, {options.data, options.config, options.model},
                       {FolderKind::run, FolderKind::finetune, FolderKind::sweep},
                       {"results.json"});
  Context context({Device::cpu, options.threads});
  const data::Dataset dataset = data::Dataset::open(options.data, config.data.sinks());
  std::vector<eval::TrainedNull> trained_nulls;
  for (const std::string& text : options.trained_nulls)
    trained_nulls.push_back(eval::parse_trained_null(text));
  std::vector<eval::EvalDictionary> dictionaries =
      eval::load_dictionaries(options.dictionaries, trained_nulls, dataset);
  const std::vector<eval::LeftOut> left_out = eval::leave_out_other_widths(dictionaries, dataset);
  for (const auto& left : left_out)
    log_line(fmt::format("dictionary '{}' is left out: {}", left.name, left.reason));
  const auto [built, trained] = split_nulls(config.eval.nulls);
  eval::add_nulls(dictionaries, built, dataset, options.seed);
  const eval::Session session{
      .context = context,
      .dataset = dataset,
      .config = config.eval,
      .dictionaries = dictionaries,
      .rule = eval::common_split_rule(dataset, dictionaries, config.data.rule()),
      .seed = options.seed,
      .model = options.model,
      .trust_model_code = options.trust_model_code,
      .log = log_line,
      .spreads = options.like.empty()
                     ? eval::published_spreads()
                     : eval::spreads_of(eval::compare(eval::read_results(options.like)))};
  const auto tasks = eval::choose_tasks(options.tasks, session);
  if (options.plan) return print_plan(session, tasks, options.json);
  const std::filesystem::path file = options.out / "results.json";
  const std::optional<eval::Results> earlier =
      earlier_results(file, planned(make_results(dataset, session), config, tasks));
  const data::Lease lease(options.out);
  eval::train_nulls(context, dictionaries, trained, dataset, options.out / "nulls", log_line);
  eval::Results results = make_results(dataset, session);
  results.left_out = left_out;
  results.tasks = eval::run_tasks(session, tasks);
  const eval::Results own = results;
  if (earlier) {
    add_and_write(*earlier, results, file);
  } else {
    compare_and_write(results, file);
  }
  if (options.json)
    print_json(eval::to_json(results));
  else
    fmt::print("{}", eval::summary_table(results));
  fail_on_what_is_missing(own);
}

}  // namespace

void register_eval(CLI::App& app) {
  auto options = std::make_shared<Options>();
  CLI::App* command = app.add_subcommand(
      "eval", "Evaluate dictionaries by proxy tasks, beside baselines and controls");
  command->add_option("dictionaries", options->dictionaries, "Run or dictionary folders");
  command->add_option("--data", options->data,
                      "Shards to evaluate on: a folder with index.yaml, or one HDF5 file");
  command->add_option("--config", options->config,
                      "YAML configuration: its eval section, and data.path; defaults where absent");
  add_overrides(*command, options->overrides, "eval.seeds=2");
  command->add_option("--model", options->model,
                      "Folder with the model's exported halves, for tasks that run the upper half");
  command->add_option("--out", options->out,
                      "Folder for results.json; results that are there are added to");
  command->add_option("--tasks", options->tasks, "Only these tasks, comma separated")
      ->delimiter(',')
      ->allow_extra_args(false);
  command
      ->add_option(
          "--null", options->nulls,
          "Control dictionaries: random, rate_matched, permuted_encoder, none; or, trained "
          "like each dictionary and kept in OUT/nulls: frozen_decoder, "
          "soft_frozen_decoder, frozen_encoder")
      ->delimiter(',')
      ->allow_extra_args(false);
  command
      ->add_option(
          "--null-dictionary", options->trained_nulls,
          "A control that was trained, KIND=DICT (repeatable), such as frozen_decoder=runs/frozen")
      ->allow_extra_args(false);
  command->add_option("--seed", options->seed, "Seed of sampling, controls and intervals")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  add_threads(*command, options->threads);
  command->add_flag("--list", options->list, "List the tasks and stop");
  command->add_flag("--plan", options->plan,
                    "Print which differences each task would tell apart, and stop");
  command
      ->add_option(
          "--like", options->like,
          "A results.json whose tables varied as these will, for what --plan and the first "
          "lines say; default: as published for the quickstart")
      ->allow_extra_args(false);
  command->add_flag("--quick", options->quick,
                    "Fewer texts, classes and seeds: a look, not for publication");
  command->add_flag("--trust-model-code", options->trust_model_code,
                    "Load model halves that the exporter's manifest does not vouch for");
  command->add_flag("--json", options->json, "Print results as JSON on stdout; logs go to stderr");
  command->callback([options] { evaluate(*options); });
}

}  // namespace assay::commands
