#include "sae/formats/source.h"

#include <fmt/format.h>
#include <yaml-cpp/yaml.h>

#include <algorithm>
#include <set>
#include <vector>

#include "data/base/json_file.h"
#include "data/tensor_formats.h"
#include "kernels/base/error.h"

namespace assay::sae::formats {

namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

constexpr int64_t kLargestConfig = 1 << 20;

// The names that formats give their files, those that say most first.
constexpr const char* kTensorFiles[] = {"sae_weights.safetensors",
                                        "sae.safetensors",
                                        "ae.pt",
                                        "params.npz",
                                        "params.safetensors",
                                        "checkpoints/final.safetensors",
                                        "latest_ckpt.safetensors"};
constexpr const char* kConfigs[] = {"cfg.json", "config.json", "hyperparams.json"};
constexpr const char* kYamlConfigs[] = {"config.yaml", "conf.yaml"};

bool holds_tensors(const fs::path& file) {
  static const std::set<std::string> endings{".safetensors", ".pt", ".pth", ".npz"};
  return endings.count(file.extension().string()) > 0 && file.filename() != "sparsity.safetensors";
}

std::vector<fs::path> tensor_files(const fs::path& folder) {
  for (const char* name : kTensorFiles)
    if (fs::is_regular_file(folder / name)) return {folder / name};
  std::vector<fs::path> files;
  for (const auto& entry : fs::directory_iterator(folder))
    if (entry.is_regular_file() && holds_tensors(entry.path())) files.push_back(entry.path());
  std::sort(files.begin(), files.end());
  return files;
}

/// The mappings and texts of a YAML file, which is all that these formats keep there: no tags,
/// anchors or sequences.
Json from_yaml(const fs::path& file) {
  if (fs::file_size(file) > static_cast<uintmax_t>(kLargestConfig))
    throw Error(fmt::format("{}: larger than {} bytes", file.string(), kLargestConfig));
  Json result = Json::object();
  try {
    const YAML::Node root = YAML::LoadFile(file.string());
    if (!root.IsMap()) throw Error(fmt::format("{}: expected a mapping", file.string()));
    for (const auto& entry : root)
      if (entry.second.IsScalar())
        result[entry.first.as<std::string>()] = entry.second.as<std::string>();
  } catch (const YAML::Exception& error) {
    throw Error(
        fmt::format("{}: not YAML: {} (line {})", file.string(), error.msg, error.mark.line + 1));
  }
  return result;
}

Config config_in(const fs::path& folder) {
  for (const char* name : kConfigs)
    if (const fs::path file = folder / name; fs::is_regular_file(file))
      return {file, data::read_json_object(file, kLargestConfig)};
  for (const char* name : kYamlConfigs)
    if (const fs::path file = folder / name; fs::is_regular_file(file))
      return {file, from_yaml(file)};
  return {folder, Json::object()};
}

}  // namespace

const Json* Config::find(const std::string& key) const {
  const Json* at = &json_;
  for (size_t begin = 0; begin <= key.size();) {
    const size_t end = std::min(key.find('.', begin), key.size());
    if (!at->is_object()) return nullptr;
    const auto found = at->find(key.substr(begin, end - begin));
    if (found == at->end() || found->is_null()) return nullptr;
    at = &*found;
    begin = end + 1;
  }
  return at;
}

void Config::refuse(const std::string& key, const char* expected) const {
  const Json* found = find(key);
  throw Error(fmt::format("{}: '{}': expected {}, found {}", file_.string(), key, expected,
                          found == nullptr         ? "nothing"
                          : found->is_structured() ? found->type_name()
                                                   : found->dump()));
}

const Json& Config::required(const std::string& key) const {
  const Json* found = find(key);
  if (found == nullptr) throw Error(fmt::format("{}: '{}' is missing", file_.string(), key));
  return *found;
}

std::string Config::text(const std::string& key, const std::string& fallback) const {
  const Json* found = find(key);
  if (found == nullptr) return fallback;
  if (!found->is_string()) refuse(key, "a text");
  return data::as_utf8(found->get<std::string>());
}

bool Config::flag(const std::string& key, bool fallback) const {
  const Json* found = find(key);
  if (found == nullptr) return fallback;
  if (!found->is_boolean()) refuse(key, "true or false");
  return found->get<bool>();
}

double Config::number(const std::string& key, double fallback) const {
  return has(key) ? required_number(key) : fallback;
}

int64_t Config::integer(const std::string& key, int64_t fallback) const {
  return has(key) ? required_integer(key) : fallback;
}

double Config::required_number(const std::string& key) const {
  if (!required(key).is_number()) refuse(key, "a number");
  return required(key).get<double>();
}

int64_t Config::required_integer(const std::string& key) const {
  if (!required(key).is_number_integer()) refuse(key, "an integer");
  return required(key).get<int64_t>();
}

bool Source::has(std::initializer_list<const char*> names) const {
  return std::all_of(names.begin(), names.end(),
                     [&](const char* name) { return has(std::string(name)); });
}

int64_t Source::rank(const std::string& tensor) const {
  const auto found = tensors.tensors.find(tensor);
  return found == tensors.tensors.end() ? -1 : static_cast<int64_t>(found->second.shape.size());
}

bool is_source(const fs::path& path) {
  return fs::is_directory(path) ? !tensor_files(path).empty()
                                : fs::is_regular_file(path) && holds_tensors(path);
}

Source open_source(const fs::path& path) {
  if (!fs::exists(path)) throw Error(path.string() + ": no such file or folder");
  fs::path file = path;
  if (fs::is_directory(path)) {
    const std::vector<fs::path> files = tensor_files(path);
    if (files.empty())
      throw Error(
          path.string() +
          ": no file of tensors here; expected one that ends in .safetensors, .pt, .pth or .npz");
    if (files.size() > 1) {
      throw UsageError(fmt::format("{}: holds {} files of tensors ({}, …): name one of them",
                                   path.string(), files.size(), files[0].filename().string()));
    }
    file = files[0];
  }
  return {path, data::read_tensors(file),
          config_in(fs::is_directory(path) ? path : path.parent_path())};
}

}  // namespace assay::sae::formats
