#include "data/index_build.h"

#include <fmt/core.h>

#include <algorithm>
#include <cmath>
#include <cstring>

#include "data/base/crc32c.h"
#include "data/row_file.h"
#include "kernels/base/error.h"

namespace assay::data {
namespace {

namespace fs = std::filesystem;

/// Rows as stored, and their checksum.
uint32_t read_chunk(const RowFile& from, const FileLayout& file, const ArrayLayout& array,
                    int64_t first, int64_t rows, std::vector<char>& stored) {
  stored.resize(static_cast<size_t>(rows * array.row_bytes()));
  if (!array.extents.empty()) return from.read(file, array, first, rows, stored.data(), true);
  const std::string decoded = read_rows_isolated(file, array, first, rows);
  std::memcpy(stored.data(), decoded.data(), decoded.size());
  return crc32c(0, stored.data(), stored.size());
}

void require_finite(const std::vector<float>& row, const FileLayout& file, const ArrayLayout& array,
                    int64_t number) {
  for (size_t j = 0; j < row.size(); ++j) {
    if (std::isfinite(row[j])) continue;
    throw Error(fmt::format("{}: row {} of {}: value {} at column {} is not finite; remove the row",
                            file.path.string(), number, array.dataset(), row[j], j));
  }
}

void examine(const RowFile& from, const FileLayout& file, ArrayLayout& array,
             const std::vector<int64_t>& special) {
  array.crc32c.clear();
  MomentSums sums(array.d);
  std::vector<char> stored;
  std::vector<float> row(static_cast<size_t>(array.d));
  for (int64_t first = 0; first < file.rows; first += file.chunk_rows) {
    const int64_t rows = std::min(file.chunk_rows, file.rows - first);
    array.crc32c.push_back(read_chunk(from, file, array, first, rows, stored));
    for (int64_t i = 0; i < rows; ++i) {
      to_float(array.dtype, stored.data() + i * array.row_bytes(), row.data(), array.d);
      require_finite(row, file, array, first + i);
      if (special.empty() || special[static_cast<size_t>(first + i)] == 0) sums.add(row.data());
    }
  }
  array.moments = sums.moments();
}

}  // namespace

Index build_index(const std::vector<fs::path>& files, const fs::path& folder, bool replace) {
  if (!replace && fs::exists(folder / "index.yaml")) {
    throw Error(fmt::format("{}: has an index already; --replace makes it anew", folder.string()));
  }
  std::vector<FileLayout> layouts = read_layouts(files);
  combine(folder, layouts);  // files that do not fit together are found before they are read
  for (FileLayout& file : layouts) {
    const bool marked =
        std::find(file.columns.begin(), file.columns.end(), "special") != file.columns.end();
    const std::vector<int64_t> special =
        marked ? read_column_isolated({file}, "/special") : std::vector<int64_t>{};
    const RowFile from(file);
    for (ArrayLayout& array : file.arrays) examine(from, file, array, special);
  }
  Index index = combine(folder, std::move(layouts));
  std::error_code failed;
  fs::create_directories(folder, failed);
  if (failed)
    throw Error(fmt::format("{}: cannot create the folder: {}", folder.string(), failed.message()));
  write_index(folder, index);
  return index;
}

}  // namespace assay::data
