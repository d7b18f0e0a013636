// Dictionaries as others publish them: read into ours, and written from ours.
//
// A format is a file and a line: how it is told, a Layout of its tensors (sae/formats/weights.h),
// its configuration fields with their meaning, the foldings. What cannot be represented is refused
// by name, never approximated; what a format does not say is asked for, never guessed.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "sae/dictionary.h"

namespace assay::sae::formats {

struct Source;

struct ImportOptions {
  std::string format;  ///< empty: told by the content
  int64_t k = 0;       ///< for formats that do not say it; 0: not given
  double norm_scale =
      0;  ///< s of rows x·s that it was trained on, where the files do not say it; 0: not given
};

struct Format {
  const char* name;
  const char* title;  ///< who publishes so, and in which files
  bool (*recognises)(const Source& source);
  Dictionary (*read)(const Source& source, const ImportOptions& options);
  /// Into an empty folder. Throws Error where the format cannot hold the dictionary. Null: import
  /// only.
  void (*write)(const Dictionary& dictionary, const std::filesystem::path& folder);
};

/// In the order in which they are tried.
const std::vector<const Format*>& all();
/// Throws UsageError naming the known ones.
const Format& find(const std::string& name);

/// The format that the source's content tells. Throws Error where it is none, or one that is known
/// and cannot be represented.
const Format& recognise(const Source& source);

/// What was opened, by the format that `options` name or the content tells.
Dictionary import_source(const Source& source, const ImportOptions& options);
/// PATH is a folder or file of a known format. Throws Error or UsageError naming the file, what is
/// expected, what was found and what to do; refuses by name what it knows and cannot represent.
Dictionary import_dictionary(const std::filesystem::path& path, const ImportOptions& options = {});
/// There is something at `path` that is no dictionary of ours, and may be imported.
bool is_foreign(const std::filesystem::path& path);
/// What `dictionary_folder` finds; an import where it is_foreign.
Dictionary open_dictionary(const std::filesystem::path& path);
/// Written beside, fsynced, renamed.
void export_dictionary(const Dictionary& dictionary, const std::string& format,
                       const std::filesystem::path& folder);

extern const Format kSaeLens, kSparsify, kDictionaryLearning, kGemmaScope, kGemmaScope2, kOpenAi,
    kQwenScope, kGoodfire, kGoodfireR1, kQresearch, kLlamaScope, kLlamaScopeR1, kLlamascopium,
    kCircuitTracer;

}  // namespace assay::sae::formats
