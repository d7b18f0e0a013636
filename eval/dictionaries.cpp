#include "eval/dictionaries.h"

#include <fmt/format.h>

#include <set>

#include "eval/nulls.h"
#include "eval/rng.h"

namespace assay::eval {
namespace {

std::string folder_name(const std::filesystem::path& path) {
  std::filesystem::path folder = std::filesystem::absolute(path).lexically_normal();
  if (folder.filename().empty()) folder = folder.parent_path();
  if (folder.filename() == "dictionary") folder = folder.parent_path();
  return folder.filename().string();
}

EvalDictionary describe_dictionary(sae::Dictionary dictionary, std::string name, std::string path,
                                   const data::Dataset& dataset) {
  EvalDictionary result;
  const sae::DictionaryInfo& info = dictionary.info;
  result.entry.name = std::move(name);
  result.entry.path = std::move(path);
  result.entry.hash = dictionary.hash();
  result.entry.variant = info.variant;
  result.entry.null_kind = info.null_kind;
  result.entry.d = info.d;
  result.entry.n = info.n;
  result.entry.k = info.k;
  result.entry.tokens = info.tokens;
  result.entry.seed = info.seed;
  result.entry.same_data =
      info.null_kind.empty() && !info.data_hash.empty() && info.data_hash == dataset.info().content_hash;
  result.dictionary = std::move(dictionary);
  return result;
}

}  // namespace

std::vector<EvalDictionary> load_dictionaries(const std::vector<std::filesystem::path>& paths,
                                              const data::Dataset& dataset) {
  std::vector<EvalDictionary> result;
  std::set<std::string> taken;
  for (const auto& path : paths) {
    const std::string folder = folder_name(path);
    std::string name = folder;
    for (int i = 2; !taken.insert(name).second; ++i) name = fmt::format("{}-{}", folder, i);
    result.push_back(describe_dictionary(sae::Dictionary::load(path), name, path.string(), dataset));
  }
  return result;
}

void add_nulls(std::vector<EvalDictionary>& dictionaries, const std::vector<std::string>& kinds,
               const data::Dataset& dataset, uint64_t seed) {
  const size_t trained = dictionaries.size();
  for (size_t i = 0; i < trained; ++i) {
    if (!dictionaries[i].entry.null_kind.empty()) continue;
    for (size_t k = 0; k < kinds.size(); ++k) {
      const std::string parent = dictionaries[i].entry.name;
      EvalDictionary null =
          describe_dictionary(make_null(kinds[k], dictionaries[i].dictionary, dataset, derive_seed(seed, {'n', i, k})),
                              parent + ":" + kinds[k], "", dataset);
      null.entry.parent = parent;
      dictionaries.push_back(std::move(null));
    }
  }
}

}  // namespace assay::eval
