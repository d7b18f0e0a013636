// Files that appear whole or not at all: written beside their name, fsynced, renamed, the folder
// fsynced.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <string_view>

namespace assay::data {

/// Replace `file` by `bytes`. Throws Error naming the file and the bytes that could not be written
/// (disk full); what stood there before then still stands.
void write_file_atomically(const std::filesystem::path& file, std::string_view bytes);

/// The same, piece by piece: nothing of `file` shows before finish().
class AtomicFile {
 public:
  /// Throws Error naming the file where it cannot be created.
  explicit AtomicFile(std::filesystem::path file);
  /// Without finish(), the part file is removed.
  ~AtomicFile();
  AtomicFile(const AtomicFile&) = delete;
  AtomicFile& operator=(const AtomicFile&) = delete;
  /// Throws Error as write_file_atomically does.
  void write(const void* bytes, size_t count);
  /// fsync, close, rename.
  void finish();

 private:
  void fail(int error) const;

  std::filesystem::path file_, part_;
  int fd_;
  int64_t written_ = 0;
};

/// Give the finished file or folder `part` the name `file` (same file system), replacing a file of
/// that name: fsync, rename, fsync the folder. Files inside a folder must have been synced before.
void publish(const std::filesystem::path& part, const std::filesystem::path& file);

/// Make the folder and those above it that are missing, and see that their names are safe on disk.
/// Throws Error naming the folder and the system's reason.
void make_folder(const std::filesystem::path& folder);

/// fsync a file or folder. A file system that cannot sync folders (EINVAL, ENOTSUP) is warned of
/// once and is no failure; any other failure throws Error with the system's reason.
void sync_to_disk(const std::filesystem::path& path);

}  // namespace assay::data
