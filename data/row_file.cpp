#include "data/row_file.h"

#include <fcntl.h>
#include <fmt/core.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "kernels/error.h"

namespace assay::data {
namespace {

void read_bytes(int fd, int64_t address, char* to, int64_t bytes, const std::string& where) {
  while (bytes > 0) {
    const ssize_t got = ::pread(fd, to, static_cast<size_t>(bytes), address);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) throw Error(fmt::format("{}: cannot read: {}", where, std::strerror(errno)));
    if (got == 0) throw Error(fmt::format("{}: truncated: it ends before byte {}", where, address + bytes));
    address += got;
    to += got;
    bytes -= got;
  }
}

}  // namespace

RowFile::RowFile(const FileLayout& file) : fd_(::open(file.path.c_str(), O_RDONLY | O_CLOEXEC)) {
  if (fd_ < 0) throw Error(fmt::format("{}: cannot open: {}", file.path.string(), std::strerror(errno)));
}

RowFile::RowFile(RowFile&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}

RowFile::~RowFile() {
  if (fd_ >= 0) ::close(fd_);
}

void RowFile::read(const FileLayout& file, const ArrayLayout& array, int64_t first, int64_t rows, char* to) const {
  auto extent = std::upper_bound(array.extents.begin(), array.extents.end(), first,
                                 [](int64_t row, const Extent& e) { return row < e.first; });
  --extent;
  for (const int64_t end = first + rows; first < end; ++extent) {
    const int64_t skip = first - extent->first;
    const int64_t count = std::min(extent->rows - skip, end - first);
    read_bytes(fd_, extent->address + skip * array.row_bytes(), to, count * array.row_bytes(), file.path.string());
    to += count * array.row_bytes();
    first += count;
  }
}

}  // namespace assay::data
