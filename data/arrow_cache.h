// A cache folder as Hugging Face's `datasets` saves it: which files belong to it, and how many
// sequences they must hold together.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <vector>

namespace assay::data {

struct ArrowCache {
  std::vector<std::filesystem::path> files;  ///< data-*.arrow, by name
  std::optional<int64_t> sequences;          ///< of all files, where dataset_info.json says it
};

/// Checks the files against their own names (data-I-of-N.arrow), and against state.json and
/// dataset_info.json where they are there. Throws UsageError where the folder holds no
/// data-*.arrow; Error naming a part that is missing, or one of another generation.
ArrowCache read_arrow_cache(const std::filesystem::path& folder);

}  // namespace assay::data
