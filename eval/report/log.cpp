#include "eval/report/log.h"

#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>

#include "data/base/json_file.h"
#include "eval/results/text.h"
#include "fmt/format.h"
#include "kernels/base/error.h"

namespace assay::eval::report {
namespace {

using nlohmann::json;

constexpr uintmax_t kMaxBytes = 256 << 20;

std::map<std::string, double> parse_line(const std::string& line) {
  // A log line is flat: anything nested is refused while parsing, before it can grow.
  const auto flat = [](int depth, json::parse_event_t event, json&) {
    if (depth > 0 &&
        (event == json::parse_event_t::object_start || event == json::parse_event_t::array_start)) {
      throw Error("expected numbers only, found a nested value");
    }
    return true;
  };
  json object;
  try {
    object = json::parse(line, flat);
  } catch (const json::exception& error) {
    throw Error(data::plain_text(error));
  }
  if (!object.is_object()) throw Error("expected a JSON object");
  std::map<std::string, double> out;
  for (const auto& [key, value] : object.items()) {
    if (!value.is_number() || !std::isfinite(value.get<double>())) {
      throw Error(fmt::format("'{}' is not a finite number", printable(key.substr(0, 60))));
    }
    out[key] = value.get<double>();
  }
  return out;
}

void append(const std::map<std::string, double>& values, TrainingLog& log) {
  if (!values.count("tokens")) throw Error("'tokens' is missing");
  for (const auto& [key, value] : values) {
    if (log.lines > 0 && !log.columns.count(key)) {
      throw Error(
          fmt::format("'{}' does not stand in the first line", printable(key.substr(0, 60))));
    }
    log.columns[key].push_back(value);
  }
  ++log.lines;
  for (const auto& [key, column] : log.columns) {
    if (std::ssize(column) != log.lines)
      throw Error(fmt::format("'{}' is missing", printable(key.substr(0, 60))));
  }
}

}  // namespace

TrainingLog read_training_log(const std::filesystem::path& file) {
  std::ifstream stream(file, std::ios::binary);
  std::error_code error;
  const uintmax_t bytes = std::filesystem::file_size(file, error);
  if (!stream || error) throw Error(fmt::format("{}: cannot be read", file.string()));
  if (bytes > kMaxBytes)
    throw Error(fmt::format("{}: {} bytes; at most {} are read", file.string(), bytes, kMaxBytes));
  TrainingLog log;
  int64_t number = 0;
  for (std::string line; std::getline(stream, line);) {
    ++number;
    if (stream.eof()) {
      log.open_ended = true;
      break;
    }
    try {
      append(parse_line(line), log);
    } catch (const std::exception& e) {
      throw Error(
          fmt::format("{}:{}: {}; remove the line, or let `assay train --resume auto` repair it",
                      file.string(), number, printable(std::string(e.what()).substr(0, 200))));
    }
  }
  return log;
}

}  // namespace assay::eval::report
