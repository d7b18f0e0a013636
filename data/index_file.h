// index.yaml: which files make a data set, their checksums, and the statistics of the whole.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "data/layout.h"
#include "data/near_duplicates.h"

namespace assay::data {

struct Index {
  DatasetInfo info;
  std::vector<Moments> moments;  ///< of each hook of info, over all files; count 0 where unknown
  SinkInfo sinks;
  /// counted while the files were indexed or converted, where they name documents; not in the file
  std::optional<NearDuplicates::Count> near_duplicates;
  /// as read_layouts gives them, with the index's chunk_rows and checksums
  std::vector<FileLayout> files;
};

/// Join files into one data set. Error naming the file that differs from the first in d, dtype,
/// hooks, labels or columns. Statistics and the content hash are filled in where every file carries
/// them.
Index combine(const std::filesystem::path& path, std::vector<FileLayout> files);

/// Write FOLDER/index.yaml atomically. Files inside the folder are named relative to it.
void write_index(const std::filesystem::path& folder, const Index& index);

/// Read FOLDER/index.yaml and the layouts of its files. The text is hostile: unknown or missing
/// keys, values out of range and files that contradict it are Errors.
Index read_index(const std::filesystem::path& folder);

}  // namespace assay::data
