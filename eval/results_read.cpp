#include <algorithm>
#include <cmath>
#include <fstream>
#include <set>

#include "eval/results.h"
#include "fmt/format.h"
#include "kernels/error.h"

namespace assay::eval {
namespace {

using nlohmann::json;

constexpr uintmax_t kMaxBytes = 256 << 20;
constexpr int kMaxDepth = 32;

[[noreturn]] void fail(const std::string& path, const std::string& expected, const json& found) {
  std::string text =
      found.is_structured() ? found.type_name() : found.dump(-1, ' ', true, json::error_handler_t::replace);
  if (text.size() > 60) text = text.substr(0, 60) + "...";
  throw Error(fmt::format("{}: expected {}, found {}", path, expected, text));
}

/// One JSON object, member by member; `finish` refuses members that nobody asked for.
class Members {
 public:
  Members(const json& object, std::string path) : object_(object), path_(std::move(path)) {
    if (!object.is_object()) fail(path_.empty() ? "the file" : path_, "an object", object);
  }
  std::string at(const char* key) const { return path_.empty() ? key : path_ + "." + key; }

  const json& get(const char* key) {
    asked_.insert(key);
    const auto it = object_.find(key);
    if (it == object_.end()) throw Error(fmt::format("{}: missing", at(key)));
    return *it;
  }
  void read(const char* key, std::string& out) {
    const json& value = get(key);
    if (!value.is_string()) fail(at(key), "a text", value);
    out = value.get<std::string>();
  }
  void read(const char* key, double& out) { out = real(get(key), at(key)); }
  void read(const char* key, bool& out) {
    const json& value = get(key);
    if (!value.is_boolean()) fail(at(key), "true or false", value);
    out = value.get<bool>();
  }
  void read(const char* key, uint64_t& out) {
    const json& value = get(key);
    if (!value.is_number_unsigned()) fail(at(key), "an integer of 0 or more", value);
    out = value.get<uint64_t>();
  }
  /// Every signed integer of the schema counts something.
  void read(const char* key, int64_t& out) {
    uint64_t value = 0;
    read(key, value);
    if (value > static_cast<uint64_t>(INT64_MAX)) fail(at(key), "an integer below 2^63", get(key));
    out = static_cast<int64_t>(value);
  }
  bool has(const char* key) const { return object_.contains(key); }
  const json& array(const char* key) {
    const json& value = get(key);
    if (!value.is_array()) fail(at(key), "a list", value);
    return value;
  }
  void finish() const {
    for (const auto& [key, value] : object_.items()) {
      if (!asked_.count(key))
        throw Error(fmt::format("{}: unknown member of schema {}", at(key.c_str()), kResultsSchema));
    }
  }
  static double real(const json& value, const std::string& path) {
    if (!value.is_number() || !std::isfinite(value.get<double>())) fail(path, "a finite number", value);
    return value.get<double>();
  }

 private:
  const json& object_;
  std::string path_;
  std::set<std::string> asked_;
};

Number read_number(const json& value, const std::string& path) {
  Members members(value, path);
  Number n;
  members.read("metric", n.metric);
  members.read("method", n.method);
  members.read("dictionary", n.dictionary);
  members.read("part", n.part);
  members.read("value", n.value);
  if (const json& interval = members.get("interval"); !interval.is_null()) {
    const std::string at = members.at("interval");
    if (!interval.is_array() || interval.size() != 2) fail(at, "null or [low, high]", interval);
    n.interval = {Members::real(interval[0], at), Members::real(interval[1], at)};
    if ((*n.interval)[0] > (*n.interval)[1]) throw Error(at + ": low is above high");
  }
  members.read("interval_kind", n.interval_kind);
  members.read("n", n.n);
  members.read("n_unit", n.n_unit);
  members.read("seed", n.seed);
  members.read("unit", n.unit);
  if (!members.get("test_seen_in_training").is_null()) {
    bool seen = false;
    members.read("test_seen_in_training", seen);
    n.test_seen_in_training = seen;
  }
  members.read("control", n.control);
  members.finish();
  return n;
}

Score read_score(const json& value, const std::string& path) {
  Members members(value, path);
  Score s;
  members.read("metric", s.metric);
  members.read("part", s.part);
  members.read("method", s.method);
  members.read("dictionary", s.dictionary);
  members.read("headline", s.headline);
  members.read("higher_is_better", s.higher_is_better);
  const json& cells = members.array("cells");
  for (size_t i = 0; i < cells.size(); ++i) {
    const std::string at = fmt::format("{}.cells[{}]", path, i);
    const json& cell = cells[i];
    if (!cell.is_array() || cell.size() != 3 || !cell[0].is_number_integer() || !cell[1].is_number_integer())
      fail(at, "[unit, run, value]", cell);
    s.cells.push_back({cell[0].get<int64_t>(), cell[1].get<int64_t>(), Members::real(cell[2], at)});
  }
  members.finish();
  return s;
}

Check read_check(const json& value, const std::string& path) {
  Members members(value, path);
  Check check;
  members.read("name", check.name);
  members.read("passed", check.passed);
  members.read("detail", check.detail);
  members.finish();
  return check;
}

TaskResult read_task(const json& value, const std::string& path) {
  Members members(value, path);
  TaskResult task;
  members.read("name", task.name);
  members.read("title", task.title);
  members.read("question", task.question);
  members.read("status", task.status);
  members.read("reason", task.reason);
  members.read("seconds", task.seconds);
  const json& numbers = members.array("numbers");
  for (size_t i = 0; i < numbers.size(); ++i) {
    task.numbers.push_back(read_number(numbers[i], fmt::format("{}.numbers[{}]", path, i)));
  }
  const json& scores = members.array("scores");
  for (size_t i = 0; i < scores.size(); ++i) {
    task.scores.push_back(read_score(scores[i], fmt::format("{}.scores[{}]", path, i)));
  }
  const json& checks = members.array("checks");
  for (size_t i = 0; i < checks.size(); ++i) {
    task.checks.push_back(read_check(checks[i], fmt::format("{}.checks[{}]", path, i)));
  }
  task.details = members.get("details");
  if (!task.details.is_object()) fail(members.at("details"), "an object", task.details);
  members.finish();
  return task;
}

DictionaryEntry read_dictionary(const json& value, const std::string& path) {
  Members members(value, path);
  DictionaryEntry d;
  members.read("name", d.name);
  members.read("path", d.path);
  members.read("hash", d.hash);
  members.read("variant", d.variant);
  members.read("null_kind", d.null_kind);
  members.read("d", d.d);
  members.read("n", d.n);
  members.read("k", d.k);
  members.read("tokens", d.tokens);
  members.read("seed", d.seed);
  members.read("same_data", d.same_data);
  members.read("parent", d.parent);
  members.finish();
  return d;
}

LeftOut read_left_out(const json& value, const std::string& path) {
  Members members(value, path);
  LeftOut out;
  members.read("name", out.name);
  members.read("path", out.path);
  members.read("reason", out.reason);
  members.finish();
  return out;
}

Results from_json(const json& value) {
  Members members(value, "");
  Results results;
  uint64_t schema = 0;
  members.read("schema", schema);
  if (schema != kResultsSchema)
    fail("schema", fmt::format("{}; this Assay reads no other (evaluate again)", kResultsSchema),
         members.get("schema"));
  members.read("version", results.version);
  members.read("dataset", results.dataset);
  members.read("dataset_hash", results.dataset_hash);
  members.read("model", results.model);
  members.read("hook", results.hook);
  members.read("split_rule", results.split_rule);
  members.read("seed", results.seed);
  const json& dictionaries = members.array("dictionaries");
  for (size_t i = 0; i < dictionaries.size(); ++i) {
    results.dictionaries.push_back(read_dictionary(dictionaries[i], fmt::format("dictionaries[{}]", i)));
  }
  const json& tasks = members.array("tasks");
  for (size_t i = 0; i < tasks.size(); ++i) {
    results.tasks.push_back(read_task(tasks[i], fmt::format("tasks[{}]", i)));
  }
  const json left_out = members.has("left_out") ? members.array("left_out") : json::array();
  for (size_t i = 0; i < left_out.size(); ++i)
    results.left_out.push_back(read_left_out(left_out[i], fmt::format("left_out[{}]", i)));
  members.finish();
  check_references(results);
  return results;
}

json parse(const std::filesystem::path& file) {
  std::ifstream stream(file, std::ios::binary);
  std::error_code error;
  const uintmax_t bytes = std::filesystem::file_size(file, error);
  if (!stream || error) throw Error("cannot be read; expected the results.json of assay eval");
  if (bytes > kMaxBytes) throw Error(fmt::format("{} bytes; at most {} are read", bytes, kMaxBytes));
  // Refused while parsing: printing a deep document would recurse as deeply.
  const auto depth_limit = [](int depth, json::parse_event_t, json&) {
    if (depth > kMaxDepth) throw Error(fmt::format("nested deeper than {} levels", kMaxDepth));
    return true;
  };
  try {
    return json::parse(stream, depth_limit);
  } catch (const json::exception& e) {
    std::string what = e.what();
    std::replace_if(
        what.begin(), what.end(), [](unsigned char c) { return c < 0x20; }, ' ');
    throw Error("not valid JSON: " + what.substr(0, 200));
  }
}

}  // namespace

Results read_results(const std::filesystem::path& file) {
  try {
    return from_json(parse(file));
  } catch (const std::exception& e) {
    std::string what = e.what();  // may quote the file
    std::replace_if(
        what.begin(), what.end(), [](unsigned char c) { return c < 0x20 || c == 0x7f; }, '?');
    throw Error(fmt::format("{}: {}", file.string(), what.substr(0, 300)));
  }
}

}  // namespace assay::eval
