#include "eval/encoding/dictionaries.h"

#include <fmt/format.h>

#include <set>

#include "data/base/json_file.h"
#include "data/base/sha256.h"
#include "data/index_build.h"
#include "eval/encoding/nulls.h"
#include "kernels/base/error.h"
#include "kernels/base/random.h"
#include "sae/formats/format.h"

namespace assay::eval {
namespace {

std::string folder_name(const std::filesystem::path& path) {
  std::filesystem::path folder = std::filesystem::absolute(path).lexically_normal();
  if (folder.filename().empty()) folder = folder.parent_path();
  if (folder.filename() == "dictionary") folder = folder.parent_path();
  return data::as_utf8(folder.filename().string());
}

EvalDictionary describe_dictionary(sae::Dictionary dictionary, std::string name,
                                   const std::filesystem::path& path,
                                   const data::Dataset& dataset) {
  EvalDictionary result;
  const sae::DictionaryInfo& info = dictionary.info;
  result.entry.name = std::move(name);
  result.entry.path = data::as_utf8(path.string());
  result.path = path;
  result.entry.hash = dictionary.hash();
  result.entry.variant = info.variant;
  result.entry.null_kind = info.null_kind;
  // Other data are another setting, and data without checksums may be any.
  if (info.null_kind.empty() && !info.setting.empty() && !info.data_hash.empty())
    result.entry.setting = data::sha256(info.setting + info.data_hash);
  result.entry.d = info.d;
  result.entry.n = info.n;
  result.entry.k = info.k;
  result.entry.tokens = info.tokens;
  result.entry.seed = info.seed;
  const bool trained = info.null_kind.empty() || info.tokens > 0;  // controls may be, too
  result.entry.same_data =
      trained && !info.data_hash.empty() && info.data_hash == dataset.info().content_hash;
  if (info.null_kind.empty()) result.entry.warnings = info.warnings;
  result.dictionary = std::move(dictionary);
  return result;
}

/// The tasks reconstruct and edit what they encode, /activations.
void check_autoencoder(const sae::DictionaryInfo& info, const std::string& path) {
  if (info.target.empty() && info.hooks.empty()) return;
  throw UsageError(fmt::format(
      "{}: a dictionary of variant {} {}; the tasks judge dictionaries of /activations alone. "
      "assay encode --fvu "
      "validation measures its reconstruction",
      path, info.variant,
      info.hooks.empty() ? "reconstructs another hook (" + info.target + ") than it encodes"
                         : fmt::format("encodes {} hooks together", info.hooks.size())));
}

}  // namespace

namespace {

/// What tells one dictionary on disk from another: its cfg.json, or what is imported.
std::filesystem::path identity_of(const std::filesystem::path& path) {
  return sae::formats::is_foreign(path) ? path : sae::dictionary_folder(path) / "cfg.json";
}

}  // namespace

TrainedNull parse_trained_null(const std::string& text) {
  const size_t equals = text.find('=');
  const std::string kind = text.substr(0, equals);
  const bool named =
      equals != std::string::npos && equals + 1 < text.size() && !kind.empty() &&
      kind.find_first_not_of("abcdefghijklmnopqrstuvwxyz0123456789_") == std::string::npos;
  if (!named)
    throw UsageError(fmt::format(
        "--null-dictionary {}: expected KIND=DICT, such as frozen_decoder=runs/frozen", text));
  return {kind, text.substr(equals + 1)};
}

std::vector<EvalDictionary> load_dictionaries(const std::vector<std::filesystem::path>& paths,
                                              const std::vector<TrainedNull>& nulls,
                                              const data::Dataset& dataset) {
  std::vector<EvalDictionary> result;
  std::set<std::string> taken;
  std::vector<std::filesystem::path> files;
  for (const auto& path : paths) files.push_back(identity_of(path));
  for (const TrainedNull& null : nulls) files.push_back(identity_of(null.path));
  data::require_different(files);
  const auto add = [&](const std::filesystem::path& path, const std::string& kind) {
    const std::string own = folder_name(path) + (kind.empty() ? "" : ":" + kind);
    std::string name = own;
    for (int i = 2; !taken.insert(name).second; ++i) name = fmt::format("{}-{}", own, i);
    sae::Dictionary dictionary = sae::formats::open_dictionary(path);
    check_autoencoder(dictionary.info, path.string());
    if (!kind.empty()) dictionary.info.null_kind = kind;
    result.push_back(describe_dictionary(std::move(dictionary), name, path, dataset));
  };
  for (const auto& path : paths) add(path, "");
  for (const TrainedNull& null : nulls) add(null.path, null.kind);
  return result;
}

std::vector<LeftOut> leave_out_other_widths(std::vector<EvalDictionary>& dictionaries,
                                            const data::Dataset& dataset) {
  const int64_t d = dataset.hook("activations").d;
  std::vector<LeftOut> left_out;
  std::vector<EvalDictionary> kept;
  for (EvalDictionary& dictionary : dictionaries) {
    const sae::DictionaryInfo& info = dictionary.dictionary.info;
    if (info.d == d && info.width() == d) {
      kept.push_back(std::move(dictionary));
      continue;
    }
    const std::string own = info.width() == info.d
                                ? fmt::format("d = {}", info.d)
                                : fmt::format("d = {} and d_out = {}", info.d, info.width());
    left_out.push_back(
        {dictionary.entry.name, dictionary.entry.path,
         fmt::format(
             "it has {} but the activations of {} have d = {}: evaluate it on the model and "
             "layer it was trained on",
             own, dataset.info().path.string(), d)});
  }
  if (kept.empty() && !left_out.empty())
    throw UsageError(fmt::format("dictionary '{}' cannot be evaluated: {}", left_out[0].name,
                                 left_out[0].reason));
  dictionaries = std::move(kept);
  return left_out;
}

void add_nulls(std::vector<EvalDictionary>& dictionaries, const std::vector<std::string>& kinds,
               const data::Dataset& dataset, uint64_t seed) {
  const size_t trained = dictionaries.size();
  for (size_t i = 0; i < trained; ++i) {
    if (!dictionaries[i].entry.null_kind.empty()) continue;
    for (size_t k = 0; k < kinds.size(); ++k) {
      const std::string parent = dictionaries[i].entry.name;
      EvalDictionary null = describe_dictionary(
          make_null(kinds[k], dictionaries[i].dictionary, dataset, derive_seed(seed, {'n', i, k})),
          parent + ":" + kinds[k], "", dataset);
      null.entry.parent = parent;
      dictionaries.push_back(std::move(null));
    }
  }
}

}  // namespace assay::eval
