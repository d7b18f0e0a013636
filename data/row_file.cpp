#include "data/row_file.h"

#include <fcntl.h>
#include <fmt/core.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "data/base/crc32c.h"
#include "data/isolated_rows.h"
#include "kernels/base/error.h"

namespace assay::data {
namespace {

constexpr int64_t kBlock =
    512 << 10;  // fits the second-level cache; shorter reads are slower from disk

uint32_t read_bytes(int fd, int64_t address, char* to, int64_t bytes, uint32_t crc, bool wanted,
                    const std::string& where) {
  while (bytes > 0) {
    const int64_t block = wanted ? std::min(bytes, kBlock) : bytes;
    const ssize_t got = ::pread(fd, to, static_cast<size_t>(block), address);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) throw Error(fmt::format("{}: cannot read: {}", where, std::strerror(errno)));
    if (got == 0)
      throw Error(fmt::format("{}: truncated: it ends before byte {}", where, address + bytes));
    if (wanted) crc = crc32c(crc, to, static_cast<size_t>(got));
    address += got;
    to += got;
    bytes -= got;
  }
  return crc;
}

}  // namespace

RowFile::RowFile(const FileLayout& file) : fd_(::open(file.path.c_str(), O_RDONLY | O_CLOEXEC)) {
  if (fd_ < 0)
    throw Error(fmt::format("{}: cannot open: {}", file.path.string(), std::strerror(errno)));
}

RowFile::RowFile(RowFile&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}

RowFile::~RowFile() {
  if (fd_ >= 0) ::close(fd_);
}

uint32_t RowFile::read(const FileLayout& file, const ArrayLayout& array, int64_t first,
                       int64_t rows, char* to, bool wanted) const {
  uint32_t crc = 0;
  auto extent = std::upper_bound(array.extents.begin(), array.extents.end(), first,
                                 [](int64_t row, const Extent& e) { return row < e.first; });
  --extent;
  for (const int64_t end = first + rows; first < end; ++extent) {
    const int64_t skip = first - extent->first;
    const int64_t count = std::min(extent->rows - skip, end - first);
    const int64_t address = extent->address + skip * array.row_bytes();
    crc = read_bytes(fd_, address, to, count * array.row_bytes(), crc, wanted, file.path.string());
    to += count * array.row_bytes();
    first += count;
  }
  return crc;
}

}  // namespace assay::data
