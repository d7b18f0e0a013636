// manifest.json: parsed as hostile input, and the trust in it. No torch here.
#include <fmt/core.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>

#include "data/base/json_file.h"
#include "data/base/sha256.h"
#include "kernels/base/error.h"
#include "sae/model_half.h"

namespace assay::sae {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

constexpr size_t kMostManifestBytes = 1 << 20;

std::string read_manifest(const fs::path& file) {
  std::ifstream in(file, std::ios::binary);
  if (!in)
    throw Error(file.string() +
                ": no such file: export the model with data/python/export_halves.py");
  std::string bytes(kMostManifestBytes + 1, '\0');
  in.read(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  bytes.resize(static_cast<size_t>(in.gcount()));
  if (bytes.size() > kMostManifestBytes)
    throw Error(file.string() + ": longer than 1 MiB: not a manifest");
  return bytes;
}

fs::path trust_list() {
  if (const char* file = std::getenv("ASSAY_TRUST_FILE"); file != nullptr && *file != '\0')
    return file;
  if (const char* data = std::getenv("XDG_DATA_HOME"); data != nullptr && *data != '\0') {
    return fs::path(data) / "assay" / "trusted-models";
  }
  const char* home = std::getenv("HOME");
  return fs::path(home != nullptr ? home : "/") / ".local" / "share" / "assay" / "trusted-models";
}

void require_trust(const fs::path& manifest, const std::string& hash) {
  const fs::path list = trust_list();
  std::ifstream in(list);
  for (std::string entry; in >> entry;) {
    if (entry == hash) return;
  }
  throw Error(
      fmt::format("{}: not in the trust list {}: a model's halves are code; export them yourself, "
                  "or pass --trust-model-code",
                  manifest.string(), list.string()));
}

/// Reads typed, bounded members; an error names the file and the key.
class Members {
 public:
  Members(const json& object, std::string where) : object_(object), where_(std::move(where)) {
    if (!object_.is_object()) throw Error(where_ + ": expected a JSON object");
  }
  std::string text(const char* key) const {
    const json& value = at(key);
    if (!value.is_string() || value.get_ref<const std::string&>().size() > 4096)
      fail(key, "a string");
    return value.get<std::string>();
  }
  int64_t integer(const char* key, int64_t low, int64_t high) const {
    const json& value = at(key);
    if (!value.is_number_integer()) fail(key, "an integer");
    const int64_t number = value.get<int64_t>();
    if (number < low || number > high) fail(key, fmt::format("{} to {}", low, high));
    return number;
  }
  const json& at(const char* key) const {
    const auto found = object_.find(key);
    if (found == object_.end()) fail(key, "a value");
    return *found;
  }
  [[noreturn]] void fail(const char* key, const std::string& expected) const {
    throw Error(fmt::format("{}: {}: expected {}; export the model again", where_, key, expected));
  }

 private:
  const json& object_;
  std::string where_;
};

std::map<std::string, HalfFile> read_files(const json& object, const std::string& where) {
  const Members entries(object, where + ": files");
  std::map<std::string, HalfFile> files;
  for (const char* key : {"lower_compiled", "lower_script", "upper_compiled", "upper_script",
                          "next_script", "lens_script"}) {
    const bool of_words =
        std::string_view(key) == "next_script" || std::string_view(key) == "lens_script";
    if (of_words && !object.contains(key))
      continue;  // a sentence encoder, or exported before there were these
    const Members entry(entries.at(key), where + ": files." + key);
    HalfFile file{entry.text("name"), entry.text("sha256")};
    const bool leads_outside =
        file.name.empty() || file.name.front() == '.' || file.name.find('/') != std::string::npos;
    if (leads_outside) entry.fail("name", "a file name within the folder");
    files[key] = file;
  }
  return files;
}

/// Folders written before there were language models do not say.
HalfOutput read_output(const json& manifest, const Members& members) {
  if (!manifest.contains("output")) return HalfOutput::embedding;
  const std::string output = members.text("output");
  if (output == "token_loss") return HalfOutput::token_loss;
  if (output != "embedding") members.fail("output", "embedding or token_loss");
  return HalfOutput::embedding;
}

std::vector<std::string> read_flags(const Members& members) {
  const json& array = members.at("cpu_flags");
  if (!array.is_array() || array.size() > 256)
    members.fail("cpu_flags", "a list of at most 256 strings");
  std::vector<std::string> flags;
  for (const json& flag : array) {
    if (!flag.is_string()) members.fail("cpu_flags", "a list of strings");
    flags.push_back(flag.get<std::string>());
  }
  return flags;
}

}  // namespace

ModelFolder ModelFolder::open(const fs::path& folder, bool trust_model_code) {
  const fs::path file = folder / "manifest.json";
  if (!fs::is_directory(folder))
    throw Error(folder.string() + ": no such folder: expected an exported model");
  const std::string bytes = read_manifest(file), where = file.string();
  const json parsed = data::parse_json(bytes, where);
  const Members members(parsed, where);
  if (members.text("format") != "assay-model-halves") members.fail("format", "assay-model-halves");
  members.integer("format_version", 1, 1);
  ModelFolder model;
  model.path = folder;
  model.model = members.text("model");
  model.revision = members.text("revision");
  model.tokenizer_hash = members.text("tokenizer_hash");
  model.torch_version = members.text("torch_version");
  model.layers = members.integer("layers", 1, 100000);
  model.layer = members.integer("layer", 0, model.layers);
  model.d = members.integer("d", 1, 1 << 20);
  model.d_out = members.integer("d_out", 1, 1 << 20);
  model.output = read_output(parsed, members);
  model.max_length = members.integer("max_length", 1, 1 << 24);
  model.vocabulary = members.integer("vocabulary", 1, INT32_MAX);
  model.cpu_flags = read_flags(members);
  model.files = read_files(members.at("files"), where);
  if (!trust_model_code) require_trust(file, data::sha256(bytes));
  return model;
}

void check_fit(const ModelFolder& folder, int64_t d, const std::string& model,
               const std::string& hook, const std::string& where) {
  const auto refuse = [&](const char* what, const std::string& theirs, const std::string& ours) {
    throw UsageError(fmt::format("{}: the model half does not fit: {} is {} there, {} in {}", where,
                                 what, theirs, ours, folder.path.string()));
  };
  if (d != folder.d) refuse("d", std::to_string(d), std::to_string(folder.d));
  if (model != folder.model) refuse("model", "'" + model + "'", "'" + folder.model + "'");
  if (hook != folder.hook()) refuse("hook", "'" + hook + "'", "'" + folder.hook() + "'");
}

std::vector<std::string> missing_cpu_flags(const std::vector<std::string>& needed,
                                           std::string_view cpuinfo) {
  std::vector<std::string> present;
  const size_t start = cpuinfo.find("flags");
  if (start != std::string_view::npos) {
    const std::string_view rest = cpuinfo.substr(start);
    std::istringstream line{std::string(rest.substr(0, rest.find('\n')))};
    for (std::string flag; line >> flag;) present.push_back(flag);
  }
  std::vector<std::string> missing;
  for (const std::string& flag : needed) {
    if (std::find(present.begin(), present.end(), flag) == present.end()) missing.push_back(flag);
  }
  return missing;
}

}  // namespace assay::sae
