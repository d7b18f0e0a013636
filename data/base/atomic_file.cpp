#include "data/base/atomic_file.h"

#include <fcntl.h>
#include <fmt/core.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <mutex>
#include <utility>

#include "data/base/say.h"
#include "kernels/base/error.h"

namespace assay::data {

namespace fs = std::filesystem;

namespace {

void warn_once(const fs::path& folder) {
  static std::once_flag said;
  std::call_once(said, [&] {
    note(fmt::format(
        "{}: this file system cannot sync folders: after a power cut the last files may be missing",
        folder.string()));
  });
}

}  // namespace

void make_folder(const fs::path& folder) {
  const fs::path above = folder.has_parent_path() ? folder.parent_path() : fs::path(".");
  std::error_code failed;
  if (fs::is_directory(folder, failed) || folder.empty()) return;
  if (!fs::exists(above, failed)) make_folder(above);
  fs::create_directory(folder, failed);
  if (failed) {
    throw Error(fmt::format("{}: cannot create the folder: {}", folder.string(), failed.message()));
  }
  sync_to_disk(above);
}

void sync_to_disk(const fs::path& path) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  const int failed = fd < 0 || ::fsync(fd) != 0 ? errno : 0;
  if (fd >= 0) ::close(fd);
  std::error_code unknown;
  if ((failed == EINVAL || failed == ENOTSUP) && fd >= 0 && fs::is_directory(path, unknown))
    return warn_once(path);
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

AtomicFile::AtomicFile(fs::path file) : file_(std::move(file)), part_(file_) {
  part_ += ".part";
  fd_ = ::open(part_.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
  if (fd_ < 0)
    throw Error(fmt::format("{}: cannot create: {}", part_.string(), std::strerror(errno)));
}

AtomicFile::~AtomicFile() {
  if (fd_ < 0) return;
  ::close(fd_);
  ::unlink(part_.c_str());
}

void AtomicFile::fail(int error) const {
  throw Error(fmt::format("{}: cannot write more than {} bytes: {}; free space and run again",
                          file_.string(), written_, std::strerror(error)));
}

void AtomicFile::write(const void* bytes, size_t count) {
  const auto* at = static_cast<const char*>(bytes);
  while (count > 0) {
    const ssize_t put = ::write(fd_, at, count);
    if (put < 0 && errno == EINTR) continue;
    if (put < 0) fail(errno);
    at += put;
    count -= static_cast<size_t>(put);
    written_ += put;
  }
}

void AtomicFile::finish() {
  if (::fsync(fd_) != 0) fail(errno);
  const int closed = ::close(fd_);
  fd_ = -1;
  if (closed != 0) {
    const int error = errno;
    ::unlink(part_.c_str());
    fail(error);
  }
  publish(part_, file_);
}

void write_file_atomically(const fs::path& file, std::string_view bytes) {
  AtomicFile whole(file);
  whole.write(bytes.data(), bytes.size());
  whole.finish();
}

}  // namespace assay::data
