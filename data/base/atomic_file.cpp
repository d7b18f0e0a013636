#include "data/base/atomic_file.h"

#include <fcntl.h>
#include <fmt/core.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>

#include "kernels/base/error.h"

namespace assay::data {
namespace {

namespace fs = std::filesystem;

/// Writes everything; returns 0 or the error number.
int write_all(int fd, std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t written = ::write(fd, bytes.data(), bytes.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return errno;
    bytes.remove_prefix(static_cast<size_t>(written));
  }
  return ::fsync(fd) == 0 ? 0 : errno;
}

}  // namespace

void sync_to_disk(const fs::path& path) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  const int failed = fd < 0 || ::fsync(fd) != 0 ? errno : 0;
  if (fd >= 0) ::close(fd);
  if (failed != 0)
    throw Error(fmt::format("{}: cannot sync to disk: {}", path.string(), std::strerror(failed)));
}

void publish(const fs::path& part, const fs::path& file) {
  sync_to_disk(part);
  if (std::rename(part.c_str(), file.c_str()) != 0) {
    throw Error(fmt::format("{}: cannot rename to {}: {}", part.string(), file.string(),
                            std::strerror(errno)));
  }
  sync_to_disk(file.has_parent_path() ? file.parent_path() : fs::path("."));
}

void write_file_atomically(const fs::path& file, std::string_view bytes) {
  fs::path part = file;
  part += ".part";
  const int fd = ::open(part.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
  if (fd < 0)
    throw Error(fmt::format("{}: cannot create: {}", part.string(), std::strerror(errno)));
  int failed = write_all(fd, bytes);
  if (::close(fd) != 0 && failed == 0) failed = errno;
  if (failed != 0) {
    ::unlink(part.c_str());
    throw Error(fmt::format("{}: cannot write {} bytes: {}; free space and run again",
                            file.string(), bytes.size(), std::strerror(failed)));
  }
  publish(part, file);
}

}  // namespace assay::data
