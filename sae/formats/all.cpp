#include <fmt/format.h>

#include "data/base/atomic_file.h"
#include "data/base/memory_room.h"
#include "kernels/base/error.h"
#include "sae/formats/format.h"
#include "sae/formats/refused.h"
#include "sae/formats/source.h"

namespace assay::sae::formats {

namespace {

namespace fs = std::filesystem;

}  // namespace

const std::vector<const Format*>& all() {
  // Those that a configuration names come before those that tensors alone tell.
  static const std::vector<const Format*> formats{
      &kSaeLens,      &kDictionaryLearning, &kSparsify,   &kLlamaScopeR1, &kLlamaScope,
      &kLlamascopium, &kGemmaScope2,        &kGemmaScope, &kOpenAi,       &kGoodfireR1,
      &kGoodfire,     &kQresearch,          &kQwenScope,  &kCircuitTracer};
  return formats;
}

const Format& find(const std::string& name) {
  std::string known;
  for (const Format* format : all()) {
    if (format->name == name) return *format;
    known += fmt::format("{}{}", known.empty() ? "" : ", ", format->name);
  }
  throw UsageError(fmt::format("--format {}: expected one of {}", name, known));
}

const Format& recognise(const Source& source) {
  refuse_known(source);
  for (const Format* format : all())
    if (format->recognises(source)) return *format;
  std::string names;
  int shown = 0;
  for (const auto& [name, tensor] : source.tensors.tensors)
    if (++shown <= 8) names += (names.empty() ? "" : ", ") + name;
  throw Error(fmt::format(
      "{}: its tensors ({}{}) are of no known format: name one with --format (assay import "
      "--help lists them)",
      source.tensors.path.string(), names, shown > 8 ? ", …" : ""));
}

Dictionary import_source(const Source& source, const ImportOptions& options) {
  refuse_known(source);
  int64_t bytes = 0;
  for (const auto& [name, tensor] : source.tensors.tensors) bytes += 4 * tensor.elements();
  data::require_room(bytes, "importing " + source.tensors.path.string(),
                     "free memory, or use a larger machine");
  const Format& format = options.format.empty() ? recognise(source) : find(options.format);
  Dictionary result = format.read(source, options);
  result.check(source.tensors.path);
  return result;
}

Dictionary import_dictionary(const fs::path& path, const ImportOptions& options) {
  return import_source(open_source(path), options);
}

bool is_foreign(const fs::path& path) {
  const bool ours =
      fs::exists(path / "dictionary.safetensors") || fs::exists(path / "dictionary" / "cfg.json");
  return !ours && fs::exists(path) && is_source(path);
}

Dictionary open_dictionary(const fs::path& path) {
  return is_foreign(path) ? import_dictionary(path) : Dictionary::load(path);
}

void export_dictionary(const Dictionary& dictionary, const std::string& name,
                       const fs::path& folder) {
  const Format& format = find(name);
  if (format.write == nullptr)
    throw UsageError(fmt::format("--format {}: it is read, not written", name));
  const fs::path part = folder.string() + ".part";
  fs::remove_all(part);
  data::make_folder(part);
  try {
    format.write(dictionary, part);
  } catch (...) {
    fs::remove_all(part);
    throw;
  }
  fs::remove_all(folder);
  data::publish(part, folder);
}

}  // namespace assay::sae::formats
