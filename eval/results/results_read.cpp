#include <algorithm>
#include <cmath>
#include <set>

#include "data/base/json_file.h"
#include "eval/results/results_members.h"
#include "fmt/format.h"
#include "kernels/base/error.h"

namespace assay::eval {
namespace {

using nlohmann::json;

constexpr int64_t kMaxBytes = 256 << 20;

[[noreturn]] void fail(const std::string& path, const std::string& expected, const json& found) {
  std::string text = found.is_structured()
                         ? found.type_name()
                         : found.dump(-1, ' ', true, json::error_handler_t::replace);
  if (text.size() > 60) text = text.substr(0, 60) + "...";
  throw Error(fmt::format("{}: expected {}, found {}", path, expected, text));
}

/// Fills what it visits from one JSON object; `finish` refuses members that nobody asked for.
class Reader {
 public:
  Reader(const json& object, std::string path) : object_(object), path_(std::move(path)) {
    if (!object.is_object()) fail(path_.empty() ? "the file" : path_, "an object", object);
  }
  template <class T>
  void operator()(const char* key, T& out) {
    asked_.insert(key);
    const auto it = object_.find(key);
    if (it == object_.end()) throw Error(fmt::format("{}: missing", at(key)));
    read(*it, at(key), out);
  }
  template <class T>
  void where_any(const char* key, T& out) {
    if (object_.contains(key)) (*this)(key, out);
  }
  void finish() const {
    for (const auto& [key, value] : object_.items()) {
      if (!asked_.count(key))
        throw Error(fmt::format("{}: unknown member of schema {}", at(key), kResultsSchema));
    }
  }

 private:
  std::string at(const std::string& key) const { return path_.empty() ? key : path_ + "." + key; }

  static void read(const json& value, const std::string& at, std::string& out) {
    if (!value.is_string()) fail(at, "a text", value);
    out = value.get<std::string>();
  }
  static void read(const json& value, const std::string& at, double& out) {
    if (!value.is_number() || !std::isfinite(value.get<double>()))
      fail(at, "a finite number", value);
    out = value.get<double>();
  }
  static void read(const json& value, const std::string& at, bool& out) {
    if (!value.is_boolean()) fail(at, "true or false", value);
    out = value.get<bool>();
  }
  static void read(const json& value, const std::string& at, uint64_t& out) {
    if (!value.is_number_unsigned()) fail(at, "an integer of 0 or more", value);
    out = value.get<uint64_t>();
  }
  /// Every signed integer of the schema counts something (but a cell's, below).
  static void read(const json& value, const std::string& at, int64_t& out) {
    uint64_t count = 0;
    read(value, at, count);
    if (count > static_cast<uint64_t>(INT64_MAX)) fail(at, "an integer below 2^63", value);
    out = static_cast<int64_t>(count);
  }
  static void read(const json& value, const std::string& at, json& out) {
    if (!value.is_object()) fail(at, "an object", value);
    out = value;
  }
  static void read(const json& value, const std::string& at, std::array<double, 2>& interval) {
    if (!value.is_array() || value.size() != 2) fail(at, "null or [low, high]", value);
    for (size_t i : {0, 1}) read(value[i], at, interval[i]);
    if (interval[0] > interval[1]) throw Error(at + ": low is above high");
  }
  static void read(const json& value, const std::string& at, Cell& cell) {
    const auto integer = [](const json& v) {
      return v.is_number_unsigned() ? v.get<uint64_t>() <= static_cast<uint64_t>(INT64_MAX)
                                    : v.is_number_integer();
    };
    if (!value.is_array() || value.size() != 3 || !integer(value[0]) || !integer(value[1]))
      fail(at, "[unit, run, value]", value);
    cell.unit = value[0].get<int64_t>();
    cell.run = value[1].get<int64_t>();
    read(value[2], at, cell.value);
  }
  template <class T>
  static void read(const json& value, const std::string& at, std::optional<T>& out) {
    if (!value.is_null()) read(value, at, out.emplace());
  }
  template <class T>
  static void read(const json& value, const std::string& at, std::vector<T>& out) {
    if (!value.is_array()) fail(at, "a list", value);
    for (size_t i = 0; i < value.size(); ++i)
      read(value[i], fmt::format("{}[{}]", at, i), out.emplace_back());
  }
  template <class T>
  static void read(const json& value, const std::string& at, T& out) {
    Reader reader(value, at);
    visit_members(reader, out);
    reader.finish();
  }

  const json& object_;
  std::string path_;
  std::set<std::string> asked_;
};

Results from_json(const json& value) {
  Reader reader(value, "");
  uint64_t schema = 0;
  reader("schema", schema);
  if (schema != kResultsSchema)
    fail("schema",
         fmt::format("{} (evaluate again, or report with the Assay that wrote it)", kResultsSchema),
         value["schema"]);
  Results results;
  visit_members(reader, results);
  reader.finish();
  check_references(results);
  return results;
}

}  // namespace

Results read_results(const std::filesystem::path& file) {
  const json value = data::read_json_object(file, kMaxBytes);
  try {
    return from_json(value);
  } catch (const std::exception& e) {
    std::string what = e.what();  // may quote the file
    std::replace_if(
        what.begin(), what.end(), [](unsigned char c) { return c < 0x20 || c == 0x7f; }, '?');
    throw Error(fmt::format("{}: {}", file.string(), what.substr(0, 300)));
  }
}

}  // namespace assay::eval
