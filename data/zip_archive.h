// Zip archives as torch.save and numpy.savez write them, read as hostile input (by libzip) and
// written. Nothing is ever extracted to disk.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "data/base/atomic_file.h"
#include "data/base/sha256.h"
#include "data/tensor_file.h"

namespace assay::data {

struct OpenZip;  // libzip's handle and its lock

struct ZipEntry {
  std::string name;  ///< UTF-8, relative, without ".."
  uint64_t size = 0;
  bool deflated = false;  ///< else stored
  uint64_t index = 0;     ///< in the archive
};

/// An archive open for reading. One lock is held around every use of it: threads may share it and
/// its entries' bytes, and wait for each other.
class ZipArchive {
 public:
  /// Throws Error naming the file and the fault: no zip or an inconsistent one; more than 100,000
  /// entries; a name that is there twice, absolute or with ".."; an entry that is encrypted, packed
  /// by anything but deflate, or declares more bytes than deflate can hold.
  explicit ZipArchive(const std::filesystem::path& file);

  const std::vector<ZipEntry>& entries() const { return entries_; }
  /// Null where there is none of that name.
  const ZipEntry* find(const std::string& name) const;
  /// Its first bytes, at most `bytes`; their checksum is not looked at.
  std::string head(const ZipEntry& entry, uint64_t bytes) const;
  /// All of it. Throws Error where it has more than `most` bytes or its checksum does not match.
  std::string text(const ZipEntry& entry, uint64_t most) const;
  /// Its bytes: read in place where they are stored, inflated into memory where not, once and for
  /// as long as this source lives. Either happens at the first read, which goes through the whole
  /// entry: it throws Error where the checksum does not match, and UsageError where there is no
  /// memory for an inflated one.
  std::shared_ptr<const ByteSource> open(const ZipEntry& entry) const;

 private:
  std::shared_ptr<OpenZip> zip_;
  std::vector<ZipEntry> entries_;
  std::map<std::string, uint64_t> indices_;
};

/// Writes an archive of stored entries whose bytes begin at multiples of 64, as torch.save's do, so
/// that readers may map them. Dates are left out: equal content gives equal bytes.
class ZipWriter {
 public:
  /// Nothing of the file shows before finish().
  explicit ZipWriter(const std::filesystem::path& file);
  /// An entry of these parts, one behind another. The name is UTF-8 and new. Throws Error where it
  /// is longer than the format's 65,535 bytes.
  void add(const std::string& name, const std::vector<std::string_view>& parts);
  /// The directory; fsync, rename. Returns the SHA-256 of the file, summed on the way.
  std::string finish();

 private:
  struct Written {
    std::string name;
    uint64_t offset, size;
    uint32_t checksum;
  };
  void put(std::string_view bytes);

  AtomicFile out_;
  Sha256 sum_;
  uint64_t at_ = 0;
  std::vector<Written> entries_;
};

}  // namespace assay::data
