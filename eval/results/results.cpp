#include "eval/results/results.h"

#include <algorithm>
#include <cmath>
#include <set>

#include "data/base/atomic_file.h"
#include "eval/results/results_members.h"
#include "eval/results/words.h"
#include "fmt/format.h"
#include "kernels/base/error.h"

namespace assay::eval {
namespace {

using nlohmann::json;

/// The first non-finite number below `value`, as a path; "" where there is none. JSON would turn it
/// into null.
std::string non_finite(const json& value, const std::string& path) {
  if (value.is_number_float() && !std::isfinite(value.get<double>())) return path;
  if (value.is_array()) {
    for (size_t i = 0; i < value.size(); ++i) {
      std::string found = non_finite(value[i], fmt::format("{}[{}]", path, i));
      if (!found.empty()) return found;
    }
  }
  if (value.is_object()) {
    for (const auto& [key, member] : value.items()) {
      std::string found = non_finite(member, path.empty() ? key : path + "." + key);
      if (!found.empty()) return found;
    }
  }
  return "";
}

/// Makes an object of what it visits.
class Writer {
 public:
  template <class T>
  static json object(const T& value) {
    Writer writer;
    visit_members(writer, value);
    return std::move(writer.object_);
  }
  template <class T>
  void operator()(const char* key, const T& value) {
    object_[key] = written(value);
  }
  template <class T>
  void where_any(const char* key, const T& value) {
    if (!value.empty()) (*this)(key, value);
  }
  template <class T>
  void where_any(const char* key, const std::optional<T>& value) {
    if (value) (*this)(key, *value);
  }

 private:
  template <class T>
  static json written(const T& value) {
    if constexpr (std::is_constructible_v<json, const T&>)
      return value;
    else
      return object(value);
  }
  template <class T>
  static json written(const std::optional<T>& value) {
    return value ? json(*value) : json(nullptr);
  }
  template <class T>
  static json written(const std::vector<T>& values) {
    json list = json::array();
    for (const T& value : values) list.push_back(written(value));
    return list;
  }
  /// There are many.
  static json written(const Cell& cell) { return {cell.unit, cell.run, cell.value}; }

  json object_ = json::object();
};

}  // namespace

void check_references(const Results& results) {
  std::set<std::string> dictionaries, tasks;
  for (const DictionaryEntry& entry : results.dictionaries) {
    if (entry.name.empty()) throw Error("dictionaries: a dictionary without a name");
    if (!dictionaries.insert(entry.name).second)
      throw Error(fmt::format("dictionaries: two named '{}'", entry.name));
  }
  for (const TaskResult& task : results.tasks) {
    if (!tasks.insert(task.name).second)
      throw Error(fmt::format("tasks: two named '{}'", task.name));
    if (task.status != "ok" && task.status != "withheld" && task.status != "failed") {
      throw Error(fmt::format("tasks.{}.status: expected ok, withheld or failed, found '{}'",
                              task.name, task.status));
    }
    for (const Number& n : task.numbers) {
      if (!n.dictionary.empty() && !dictionaries.count(n.dictionary)) {
        throw Error(fmt::format("tasks.{}.numbers: '{}' of a dictionary '{}' that is not listed",
                                task.name, n.metric, n.dictionary));
      }
      if (n.n < 0)
        throw Error(fmt::format("tasks.{}.numbers: '{}' has n = {}", task.name, n.metric, n.n));
    }
    for (const Score& s : task.scores) {
      if (!s.dictionary.empty() && !dictionaries.count(s.dictionary)) {
        throw Error(fmt::format("tasks.{}.scores: '{}' of a dictionary '{}' that is not listed",
                                task.name, s.metric, s.dictionary));
      }
    }
    check_words(task);
  }
}

nlohmann::json to_json(const Results& results) {
  check_references(results);
  json out = Writer::object(results);
  out["schema"] = kResultsSchema;
  const std::string path = non_finite(out, "");
  if (!path.empty())
    throw Error(
        fmt::format("results: {} is not finite; a number that cannot be had is left out", path));
  return out;
}

void check_task(const TaskResult& task) {
  const std::string path = non_finite(Writer::object(task), "");
  if (!path.empty())
    throw Error(
        fmt::format("{} is not a finite number: do the features vary in every part?", path));
  check_words(task);
}

void write_results(const Results& results, const std::filesystem::path& file) {
  std::string text;
  try {
    text = to_json(results).dump(1) + "\n";
  } catch (const json::exception& e) {
    throw Error(
        fmt::format("{}: results hold a text that is not UTF-8: {}", file.string(), e.what()));
  }
  data::write_file_atomically(file, text);
}

}  // namespace assay::eval
