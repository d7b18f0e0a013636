// A file that grows record by record beside a run's checkpoints. On resume it is cut back to what
// the checkpoint had seen, so that a record never stands twice.
#pragma once

#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <string>

namespace assay::sae {

class AppendFile {
 public:
  /// Opens for appending, cut to `bytes`. Throws Error naming the file where it cannot, or where it
  /// is shorter.
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
