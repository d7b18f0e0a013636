#include "data/index_build.h"

#include <fmt/core.h>
#include <sys/stat.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <fstream>
#include <map>

#include "data/base/crc32c.h"
#include "data/base/lease.h"
#include "data/isolated_rows.h"
#include "data/row_file.h"
#include "kernels/base/error.h"
#include "kernels/base/mix64.h"

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

/// Calls take(number, row) for every row of an array, and fills in its checksums.
template <class Take>
void read_all(const RowFile& from, const FileLayout& file, ArrayLayout& array, const Take& take) {
  array.crc32c.clear();
  std::vector<char> stored;
  std::vector<float> row(static_cast<size_t>(array.d));
  for (int64_t first = 0; first < file.rows; first += file.chunk_rows) {
    const int64_t rows = std::min(file.chunk_rows, file.rows - first);
    array.crc32c.push_back(read_chunk(from, file, array, first, rows, stored));
    for (int64_t i = 0; i < rows; ++i) {
      to_float(array.dtype, stored.data() + i * array.row_bytes(), row.data(), array.d);
      take(first + i, row);
    }
  }
}

/// One byte a row; empty where the file has no such column.
std::vector<uint8_t> marks_of(const FileLayout& file, const std::string& column) {
  if (!file.has_column(column)) return {};
  std::vector<uint8_t> marks;
  for (const int64_t value : read_column_isolated({file}, "/" + column))
    marks.push_back(value != 0);
  return marks;
}

/// Every value of every integer column fits it: found here rather than when it is first used.
void check_columns(const FileLayout& file) {
  for (const std::string& column : file.columns) read_column_isolated({file}, "/" + column);
  for (const LabelInfo& label : file.labels) {
    check_label_values(label, read_column_isolated({file}, "/labels/" + label.name),
                       file.path.string());
  }
}

/// What tells a file's rows from another's: a checksum of each, and of all.
struct Rows {
  std::vector<uint32_t> each;
  uint64_t all = 0;
  void add(const std::vector<float>& row) {
    each.push_back(crc32c(0, row.data(), row.size() * sizeof(float)));
    all = mix64(all ^ each.back());
  }
};

/// The files so far.
class Seen {
 public:
  /// Throws Error where the file's activations are those of an earlier one.
  void add(const FileLayout& file, const Rows& rows, const std::vector<uint8_t>& special) {
    const auto [twin, is_new] = files_.try_emplace({file.rows, rows.all}, file.path);
    if (!is_new) {
      throw Error(fmt::format(
          "{}: holds the same activations as {}: both sides of a split would; leave one out",
          file.path.string(), twin->second.string()));
    }
    if (!file.has_column("document")) return;
    const std::vector<int64_t> document = read_column_isolated({file}, "/document");
    std::vector<int64_t> tokens;
    if (file.has_column("tokens")) tokens = read_column_isolated({file}, "/tokens");
    for (size_t row = 0; row < document.size(); ++row) {
      if (!special.empty() && special[row] != 0) continue;
      documents_.add(document[row],
                     tokens.empty() ? rows.each[row] : static_cast<uint64_t>(tokens[row]));
    }
    any_ = true;
  }
  std::optional<NearDuplicates::Count> near_duplicates() const {
    return any_ ? std::optional(documents_.count()) : std::nullopt;
  }

 private:
  std::map<std::pair<int64_t, uint64_t>, fs::path> files_;
  NearDuplicates documents_;
  bool any_ = false;
};

/// Checksums, statistics and sinks of a file. Only where it has sinks is it read a second time.
std::vector<uint8_t> examine(FileLayout& file, Seen& seen) {
  const RowFile from(file);
  Rows rows;
  const std::vector<uint8_t> special = marks_of(file, "special"), given = marks_of(file, "sink");
  const auto marked = [](const std::vector<uint8_t>& marks, int64_t row) {
    return !marks.empty() && marks[static_cast<size_t>(row)] != 0;
  };
  SinkFinder finder(file.arrays.size());
  for (size_t h = 0; h < file.arrays.size(); ++h) {
    ArrayLayout& array = file.arrays[h];
    MomentSums sums(array.d);
    read_all(from, file, array, [&](int64_t number, const std::vector<float>& row) {
      require_finite(row, file, array, number);
      finder.add(h, row.data(), array.d);
      if (h == 0) rows.add(row);
      if (!marked(special, number)) sums.add(row.data());
    });
    array.moments = sums.moments();
  }
  Sinks sinks = finder.find(special, given);
  file.sinks = sinks.facts;
  for (size_t h = 0; h < file.arrays.size(); ++h) {
    ArrayLayout& array = file.arrays[h];
    array.sinks = sinks.hooks[h];
    if (sinks.facts.rows == 0) continue;
    MomentSums sums(array.d);
    read_all(from, file, array, [&](int64_t number, const std::vector<float>& row) {
      if (!marked(special, number) && !marked(sinks.marks, number)) sums.add(row.data());
    });
    array.moments = sums.moments();
  }
  seen.add(file, rows, special);
  return std::move(sinks.marks);
}

/// An index may be made anew; a file of that name that is none may not.
void require_replaceable(const fs::path& folder) {
  std::ifstream in(folder / "index.yaml");
  std::string line;
  if (!in || (std::getline(in, line) && line.rfind("format:", 0) == 0)) return;
  throw Error(fmt::format("{}/index.yaml: not an index of activations; choose another --out",
                          folder.string()));
}

}  // namespace

void require_different(const std::vector<fs::path>& files) {
  std::map<std::pair<dev_t, ino_t>, fs::path> seen;
  for (const fs::path& file : files) {
    struct stat info {};
    if (::stat(file.c_str(), &info) != 0) continue;  // reading it says so
    const auto [first, is_new] = seen.try_emplace({info.st_dev, info.st_ino}, file);
    if (is_new) continue;
    throw UsageError(fmt::format("{}: the same file as {}; name it once", file.string(),
                                 first->second.string()));
  }
}

Index build_index(const std::vector<fs::path>& files, const fs::path& folder, bool replace) {
  if (!replace && fs::exists(folder / "index.yaml")) {
    throw UsageError(fmt::format("{}: exists already; use --replace to make it anew",
                                 (folder / "index.yaml").string()));
  }
  require_replaceable(folder);
  require_different(files);
  std::vector<FileLayout> layouts = read_layouts(files);
  for (const FileLayout& file : layouts)
    if (file.rows == 0)
      throw Error(fmt::format("{}: {} has 0 rows; leave the file out", file.path.string(),
                              file.arrays.front().dataset()));
  combine(folder, layouts);  // files that do not fit together are found before they are read
  const Lease lease(folder);
  for (const FileLayout& file : layouts) check_columns(file);
  Seen seen;
  std::vector<uint8_t> sinks;
  bool own = true;
  for (FileLayout& file : layouts) {
    const std::vector<uint8_t> marks = examine(file, seen);
    sinks.insert(sinks.end(), marks.begin(), marks.end());
    own &= file.has_column("sink");
  }
  Index index = combine(folder, std::move(layouts));
  index.near_duplicates = seen.near_duplicates();
  if (index.sinks.rows > 0 && !own) write_sinks(folder, sinks);
  write_index(folder, index);
  return index;
}

}  // namespace assay::data
