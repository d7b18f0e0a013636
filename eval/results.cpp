#include "eval/results.h"

#include <algorithm>
#include <cmath>
#include <set>

#include "data/atomic_file.h"
#include "fmt/format.h"
#include "kernels/error.h"

namespace assay::eval {
namespace {

using nlohmann::json;

/// The first non-finite number below `value`, as a path; "" where there is none. JSON would turn it into null.
std::string non_finite(const json& value, const std::string& path) {
  if (value.is_number_float() && !std::isfinite(value.get<double>())) return path;
  if (value.is_array()) {
    for (size_t i = 0; i < value.size(); ++i) {
      const std::string found = non_finite(value[i], fmt::format("{}[{}]", path, i));
      if (!found.empty()) return found;
    }
  }
  if (value.is_object()) {
    for (const auto& [key, member] : value.items()) {
      const std::string found = non_finite(member, path.empty() ? key : path + "." + key);
      if (!found.empty()) return found;
    }
  }
  return "";
}

json number_json(const Number& n) {
  json out = {{"metric", n.metric},
              {"method", n.method},
              {"dictionary", n.dictionary},
              {"part", n.part},
              {"value", n.value},
              {"interval", nullptr},
              {"n", n.n},
              {"n_unit", n.n_unit},
              {"interval_kind", n.interval_kind},
              {"seed", n.seed},
              {"unit", n.unit},
              {"test_seen_in_training", nullptr},
              {"control", n.control}};
  if (n.interval) out["interval"] = *n.interval;
  if (n.test_seen_in_training) out["test_seen_in_training"] = *n.test_seen_in_training;
  return out;
}

/// Cells as [unit, run, value]: there are many.
json score_json(const Score& s) {
  json cells = json::array();
  for (const ScoreCell& cell : s.cells) cells.push_back({cell.unit, cell.run, cell.value});
  return {{"metric", s.metric},         {"part", s.part},         {"method", s.method},
          {"dictionary", s.dictionary}, {"headline", s.headline}, {"higher_is_better", s.higher_is_better},
          {"cells", std::move(cells)}};
}

json task_json(const TaskResult& task) {
  json numbers = json::array(), checks = json::array(), scores = json::array();
  for (const Score& score : task.scores) scores.push_back(score_json(score));
  for (const Number& number : task.numbers) numbers.push_back(number_json(number));
  for (const Check& check : task.checks) {
    checks.push_back({{"name", check.name}, {"passed", check.passed}, {"detail", check.detail}});
  }
  return {{"name", task.name},     {"title", task.title},     {"question", task.question}, {"status", task.status},
          {"reason", task.reason}, {"seconds", task.seconds}, {"numbers", numbers},        {"scores", scores},
          {"checks", checks},      {"details", task.details}};
}

json dictionary_json(const DictionaryEntry& d) {
  return {{"name", d.name},
          {"path", d.path},
          {"hash", d.hash},
          {"variant", d.variant},
          {"null_kind", d.null_kind},
          {"d", d.d},
          {"n", d.n},
          {"k", d.k},
          {"tokens", d.tokens},
          {"seed", d.seed},
          {"same_data", d.same_data},
          {"parent", d.parent}};
}

}  // namespace

void check_references(const Results& results) {
  std::set<std::string> dictionaries, tasks;
  for (const DictionaryEntry& entry : results.dictionaries) {
    if (entry.name.empty()) throw Error("dictionaries: a dictionary without a name");
    if (!dictionaries.insert(entry.name).second) throw Error(fmt::format("dictionaries: two named '{}'", entry.name));
  }
  for (const TaskResult& task : results.tasks) {
    if (!tasks.insert(task.name).second) throw Error(fmt::format("tasks: two named '{}'", task.name));
    if (task.status != "ok" && task.status != "withheld" && task.status != "failed") {
      throw Error(fmt::format("tasks.{}.status: expected ok, withheld or failed, found '{}'", task.name, task.status));
    }
    for (const Number& n : task.numbers) {
      if (!n.dictionary.empty() && !dictionaries.count(n.dictionary)) {
        throw Error(fmt::format("tasks.{}.numbers: '{}' of a dictionary '{}' that is not listed", task.name, n.metric,
                                n.dictionary));
      }
      if (n.n < 0) throw Error(fmt::format("tasks.{}.numbers: '{}' has n = {}", task.name, n.metric, n.n));
    }
    for (const Score& s : task.scores) {
      if (!s.dictionary.empty() && !dictionaries.count(s.dictionary)) {
        throw Error(fmt::format("tasks.{}.scores: '{}' of a dictionary '{}' that is not listed", task.name, s.metric,
                                s.dictionary));
      }
    }
  }
}

nlohmann::json to_json(const Results& results) {
  check_references(results);
  json dictionaries = json::array(), tasks = json::array();
  for (const DictionaryEntry& entry : results.dictionaries) dictionaries.push_back(dictionary_json(entry));
  for (const TaskResult& task : results.tasks) tasks.push_back(task_json(task));
  json out = {{"schema", kResultsSchema},
              {"version", results.version},
              {"dataset", results.dataset},
              {"model", results.model},
              {"hook", results.hook},
              {"dataset_hash", results.dataset_hash},
              {"seed", results.seed},
              {"dictionaries", dictionaries},
              {"split_rule", results.split_rule},
              {"tasks", tasks}};
  for (const LeftOut& left : results.left_out)
    out["left_out"].push_back({{"name", left.name}, {"path", left.path}, {"reason", left.reason}});
  const std::string path = non_finite(out, "");
  if (!path.empty())
    throw Error(fmt::format("results: {} is not finite; a number that cannot be had is left out", path));
  return out;
}

void check_finite(const TaskResult& task) {
  const std::string path = non_finite(task_json(task), "");
  if (!path.empty()) throw Error(fmt::format("{} is not a finite number: do the features vary in every part?", path));
}

void write_results(const Results& results, const std::filesystem::path& file) {
  std::string text;
  try {
    text = to_json(results).dump(1) + "\n";
  } catch (const json::exception& e) {
    throw Error(fmt::format("{}: results hold a text that is not UTF-8: {}", file.string(), e.what()));
  }
  data::write_file_atomically(file, text);
}

}  // namespace assay::eval
