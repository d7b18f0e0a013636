// Index, checksums and statistics for HDF5 files that somebody else wrote. The files stay where and
// as they are.
#pragma once

#include <filesystem>
#include <vector>

#include "data/index_file.h"

namespace assay::data {

/// UsageError where two of the paths, links followed, lead to the same file.
void require_different(const std::vector<std::filesystem::path>& files);

/// Read every byte of the files and write FOLDER/index.yaml (created). The files must hold
/// /activations and agree in d, dtype, hooks, labels and columns. Error naming file and row where a
/// value is not finite, or naming both files where two hold the same activations; Error where the
/// folder has an index already, unless `replace`.
Index build_index(const std::vector<std::filesystem::path>& files,
                  const std::filesystem::path& folder, bool replace);

}  // namespace assay::data
