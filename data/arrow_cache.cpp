#include "data/arrow_cache.h"

#include <fmt/core.h>

#include <algorithm>
#include <cstdio>
#include <fstream>
#include <nlohmann/json.hpp>
#include <set>
#include <string>

#include "kernels/base/error.h"

namespace assay::data {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;

constexpr const char* kAdvice = "write the cache anew into an empty folder";

/// The object in a small file; nothing where there is no such file.
std::optional<Json> read_object(const fs::path& file) {
  constexpr uintmax_t kMost = 16 << 20;
  std::error_code missing;
  const uintmax_t size = fs::file_size(file, missing);
  if (missing) return std::nullopt;
  if (size > kMost) throw Error(fmt::format("{}: larger than 16 MiB", file.string()));
  std::ifstream in(file);
  Json json = Json::parse(in, nullptr, /*allow_exceptions=*/false);
  if (!json.is_object())
    throw Error(fmt::format("{}: expected a JSON object; {}", file.string(), kAdvice));
  return json;
}

/// Files named data-I-of-N.arrow are all N of one saving.
void check_parts(const std::vector<fs::path>& files) {
  int64_t parts = -1;
  std::set<int64_t> found;
  for (const fs::path& file : files) {
    const std::string name = file.filename().string();
    long part = 0, of = 0;
    int read = 0;
    const bool numbered =
        std::sscanf(name.c_str(), "data-%ld-of-%ld.arrow%n", &part, &of, &read) == 2 &&
        read == static_cast<int>(name.size());
    if (!numbered) continue;
    if (parts >= 0 && of != parts) {
      throw Error(
          fmt::format("{}: one of {} parts, beside others of {}: two savings lie in this "
                      "folder; {}",
                      file.string(), of, parts, kAdvice));
    }
    parts = of;
    found.insert(part);
  }
  for (int64_t part = 0; part < parts; ++part) {
    if (found.count(part) > 0) continue;
    throw Error(fmt::format("{}: part {} of {} is missing (data-{:05}-of-{:05}.arrow); {}",
                            files.front().parent_path().string(), part, parts, part, parts,
                            kAdvice));
  }
}

/// state.json lists the files of the last saving.
void check_listed(const fs::path& folder, const std::vector<fs::path>& files) {
  const auto state = read_object(folder / "state.json");
  if (!state || !state->contains("_data_files")) return;
  std::set<std::string> listed, found;
  const Json& entries = (*state)["_data_files"];
  for (const Json& entry : entries.is_array() ? entries : Json::array()) {
    if (entry.is_object() && entry.contains("filename") && entry["filename"].is_string())
      listed.insert(entry["filename"].get<std::string>());
  }
  for (const fs::path& file : files) {
    found.insert(file.filename().string());
    if (listed.count(file.filename().string()) > 0) continue;
    throw Error(fmt::format("{}: not listed in state.json: left from another saving; remove it",
                            file.string()));
  }
  for (const std::string& name : listed) {
    if (found.count(name) == 0)
      throw Error(fmt::format("{}: state.json lists it, but it is not there; {}",
                              (folder / name).string(), kAdvice));
  }
}

/// What dataset_info.json says of its only split.
std::optional<int64_t> listed_sequences(const fs::path& folder) {
  const auto info = read_object(folder / "dataset_info.json");
  if (!info) return std::nullopt;
  const Json splits = info->value("splits", Json());
  if (!splits.is_object() || splits.size() != 1 || !splits.front().is_object()) return std::nullopt;
  const Json count = splits.front().value("num_examples", Json());
  if (!count.is_number_integer() || count.get<int64_t>() < 0) return std::nullopt;
  return count.get<int64_t>();
}

}  // namespace

ArrowCache read_arrow_cache(const fs::path& folder) {
  ArrowCache cache;
  for (const auto& entry : fs::directory_iterator(folder)) {
    const std::string name = entry.path().filename().string();
    if (name.rfind("data-", 0) == 0 && entry.path().extension() == ".arrow")
      cache.files.push_back(entry.path());
  }
  if (cache.files.empty())
    throw UsageError(fmt::format(
        "{}: no data-*.arrow in this folder; name files, or the folder of an Arrow cache",
        folder.string()));
  std::sort(cache.files.begin(), cache.files.end());
  check_parts(cache.files);
  check_listed(folder, cache.files);
  cache.sequences = listed_sequences(folder);
  return cache;
}

}  // namespace assay::data
