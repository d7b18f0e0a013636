#include "data/base/json_file.h"

#include <fmt/format.h>

#include <cerrno>
#include <cstring>
#include <fstream>
#include <set>
#include <vector>

#include "kernels/base/error.h"

namespace assay::data {
namespace {

using Json = nlohmann::ordered_json;

constexpr int kDeepest = 32;

/// Watches the parser: refuses depth before it can be recursed into, and keys that repeat.
class Guard {
 public:
  explicit Guard(const std::string& where) : where_(where) {}

  bool operator()(int depth, Json::parse_event_t event, Json& parsed) {
    if (depth > kDeepest)
      throw Error(
          fmt::format("{}: nested deeper than {} levels; write it flatter", where_, kDeepest));
    if (event == Json::parse_event_t::object_start) keys_.emplace_back();
    if (event == Json::parse_event_t::object_end) keys_.pop_back();
    if (event == Json::parse_event_t::key && !keys_.back().insert(parsed).second)
      throw Error(fmt::format("{}: the key '{}' appears twice; remove one", where_,
                              parsed.get<std::string>().substr(0, 60)));
    return true;
  }

 private:
  const std::string& where_;
  std::vector<std::set<std::string>> keys_;  ///< of the objects that are open
};

}  // namespace

std::string as_utf8(const std::string& text) {
  const std::string quoted = Json(text).dump(-1, ' ', false, Json::error_handler_t::replace);
  return Json::parse(quoted).get<std::string>();
}

std::string plain_text(const nlohmann::json::exception& error) {
  const std::string text = error.what();
  const size_t end = text.find("] ");  // of [json.exception.KIND.NUMBER]
  return end == std::string::npos ? text : text.substr(end + 2);
}

Json parse_json(const std::string& text, const std::string& where) {
  try {
    return Json::parse(text, Guard(where));
  } catch (const Json::exception& error) {
    throw Error(fmt::format("{}: not valid JSON: {}; correct it, or write it anew", where,
                            plain_text(error).substr(0, 200)));
  }
}

Json read_json_object(const std::filesystem::path& file, int64_t most_bytes) {
  const std::string where = file.string();
  std::error_code failed;
  const uintmax_t bytes = std::filesystem::file_size(file, failed);
  if (failed) throw Error(fmt::format("{}: cannot be read: {}", where, failed.message()));
  if (bytes > static_cast<uintmax_t>(most_bytes))
    throw Error(fmt::format("{}: {} bytes; at most {} are read", where, bytes, most_bytes));
  std::string text(bytes, '\0');
  std::ifstream in(file, std::ios::binary);
  in.read(text.data(), static_cast<std::streamsize>(bytes));
  if (!in) throw Error(fmt::format("{}: cannot be read: {}", where, std::strerror(errno)));
  Json value = parse_json(text, where);
  if (!value.is_object()) throw Error(fmt::format("{}: expected a JSON object", where));
  return value;
}

}  // namespace assay::data
