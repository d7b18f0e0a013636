// A file that grows record by record beside a run's checkpoints. On resume it is cut back to what
// the checkpoint had seen, so that a record never stands twice.
#pragma once

#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <string>

namespace assay::sae {

/// How much of a log of JSON lines goes on, of which a checkpoint saw the first `bytes`: all of
/// them, or, where lines of it are lost or damaged, the whole lines that are left, alone in the
/// file from then on. Says on the log what is missing; a log is never why a run cannot go on.
int64_t whole_lines(const std::filesystem::path& file, int64_t bytes);

class AppendFile {
 public:
  /// Opens for appending, cut to `bytes`, which are at most the file's. Throws Error naming the
  /// file where it cannot.
  AppendFile(std::filesystem::path file, int64_t bytes);
  ~AppendFile();
  AppendFile(const AppendFile&) = delete;
  AppendFile& operator=(const AppendFile&) = delete;

  /// The whole record, handed to the system. Throws Error where it does not fit (disk full).
  void write(const std::string& record);
  int64_t bytes() const { return bytes_; }
  /// The file's length, after flushing it to disk.
  int64_t sync();

 private:
  std::filesystem::path path_;
  std::FILE* file_;
  int64_t bytes_;
};

}  // namespace assay::sae
