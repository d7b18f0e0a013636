// The rows of one HDF5 file as stored bytes: by pread where the layout allows, else through the
// library in a child.
#pragma once

#include <cstdint>

#include "data/layout.h"

namespace assay::data {

/// Thread-safe. Keeps the file open.
class RowFile {
 public:
  explicit RowFile(const FileLayout& file);
  RowFile(RowFile&& other) noexcept;
  RowFile& operator=(RowFile&&) = delete;
  ~RowFile();

  /// Rows [first, first + rows) of an array that has extents, into `to` [rows · row_bytes]. Returns
  /// their CRC32C, computed block by block while the bytes are in the processor's cache, or 0 where
  /// it is not `wanted`.
  uint32_t read(const FileLayout& file, const ArrayLayout& array, int64_t first, int64_t rows,
                char* to, bool wanted) const;

 private:
  int fd_;
};

}  // namespace assay::data
