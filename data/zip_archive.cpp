#include "data/zip_archive.h"

#include <fmt/core.h>
#include <zip.h>

#include <algorithm>
#include <cstring>
#include <mutex>
#include <utility>

#include "data/base/memory_room.h"
#include "data/base/within_memory.h"
#include "data/zip_directory.h"
#include "kernels/base/error.h"

namespace assay::data {

namespace {

constexpr uint64_t kDeflateAtMost = 1100;  // bytes out of one; the format allows 1032

[[noreturn]] void refuse(const std::string& file, const std::string& why) {
  throw Error(fmt::format("{}: not a valid zip archive: {}; write it anew", file, why));
}

[[noreturn]] void refuse_entry(const std::string& file, const std::string& name,
                               const std::string& why) {
  throw Error(fmt::format("{}: entry '{}' {}", file, name, why));
}

/// Nothing is extracted, but a name that would leave its folder is no honest one.
void check_name(const std::string& file, const std::string& name) {
  bool leaves = name.empty() || name.front() == '/';
  for (size_t at = 0; !leaves && at <= name.size();) {
    const size_t end = std::min(name.find('/', at), name.size());
    leaves = name.compare(at, end - at, "..") == 0;
    at = end + 1;
  }
  if (leaves) refuse(file, fmt::format("an entry has the name '{}'", name));
}

ZipEntry describe(const std::string& file, zip_t* zip, uint64_t index) {
  zip_stat_t stat;
  zip_stat_init(&stat);
  constexpr zip_uint64_t kNeeded = ZIP_STAT_NAME | ZIP_STAT_SIZE | ZIP_STAT_COMP_SIZE |
                                   ZIP_STAT_COMP_METHOD | ZIP_STAT_ENCRYPTION_METHOD;
  if (zip_stat_index(zip, index, 0, &stat) != 0 || (stat.valid & kNeeded) != kNeeded)
    refuse(file, fmt::format("entry {} cannot be described", index));
  ZipEntry entry{stat.name, stat.size, stat.comp_method != ZIP_CM_STORE, index};
  check_name(file, entry.name);
  if (stat.encryption_method != ZIP_EM_NONE)
    refuse_entry(file, entry.name, "is encrypted; write the archive without a password");
  if (entry.deflated && stat.comp_method != ZIP_CM_DEFLATE) {
    refuse_entry(file, entry.name,
                 fmt::format("is packed by method {}, expected 0 (stored) or 8 (deflated); write "
                             "the archive anew",
                             stat.comp_method));
  }
  if (entry.deflated ? stat.size / kDeflateAtMost > stat.comp_size : stat.size != stat.comp_size) {
    refuse_entry(file, entry.name,
                 fmt::format("claims to hold {} bytes in {}, which cannot be; write the archive "
                             "anew",
                             stat.size, stat.comp_size));
  }
  return entry;
}

using Handle = std::unique_ptr<zip_file_t, int (*)(zip_file_t*)>;

}  // namespace

struct OpenZip {
  std::string file;
  zip_t* zip = nullptr;
  std::mutex mutex;  ///< around every call of libzip
  ~OpenZip() {
    if (zip != nullptr) zip_discard(zip);
  }

  Handle open(const ZipEntry& entry) const {
    Handle handle(zip_fopen_index(zip, entry.index, 0), zip_fclose);
    if (!handle) refuse_entry(file, entry.name, unreadable(zip_strerror(zip)));
    return handle;
  }
  void read(const ZipEntry& entry, zip_file_t* handle, void* into, uint64_t bytes) const {
    for (auto* at = static_cast<char*>(into); bytes > 0;) {
      const zip_int64_t got = zip_fread(handle, at, bytes);
      if (got <= 0) fail(entry, handle, got);
      at += got, bytes -= static_cast<uint64_t>(got);
    }
  }
  /// Where an entry ends, libzip compares its checksum.
  void expect_end(const ZipEntry& entry, zip_file_t* handle) const {
    char more = 0;
    const zip_int64_t got = zip_fread(handle, &more, 1);
    if (got > 0) refuse_entry(file, entry.name, "is longer than it claims; write it anew");
    if (got < 0) fail(entry, handle, got);
  }

 private:
  static std::string unreadable(const char* why) {
    return fmt::format("cannot be read: {}; copy or download the file anew", why);
  }
  [[noreturn]] void fail(const ZipEntry& entry, zip_file_t* handle, zip_int64_t got) const {
    if (got == 0) refuse_entry(file, entry.name, unreadable("its bytes end too early"));
    if (zip_error_code_zip(zip_file_get_error(handle)) == ZIP_ER_CRC)
      refuse_entry(file, entry.name, unreadable("its bytes do not match their checksum"));
    refuse_entry(file, entry.name, unreadable(zip_file_strerror(handle)));
  }
};

namespace {

void check_range(const std::string& file, const ZipEntry& entry, uint64_t offset, size_t bytes) {
  if (offset <= entry.size && bytes <= entry.size - offset) return;
  refuse_entry(file, entry.name,
               fmt::format("has {} bytes, expected {} at byte {}; write the archive anew",
                           entry.size, bytes, offset));
}

class StoredEntry : public ByteSource {
 public:
  StoredEntry(std::shared_ptr<OpenZip> zip, ZipEntry entry)
      : zip_(std::move(zip)), entry_(std::move(entry)) {}
  ~StoredEntry() override {
    const std::lock_guard hold(zip_->mutex);
    handle_.reset();
  }

  void read(uint64_t offset, void* into, size_t bytes) const override {
    check_range(zip_->file, entry_, offset, bytes);
    if (bytes == 0) return;  // libzip 1.7.3 crashes when it seeks in an empty entry
    const std::lock_guard hold(zip_->mutex);
    if (!handle_) verify();
    if (zip_fseek(handle_.get(), static_cast<zip_int64_t>(offset), SEEK_SET) != 0)
      refuse_entry(zip_->file, entry_.name, "cannot be read in place; write the archive anew");
    zip_->read(entry_, handle_.get(), into, bytes);
  }
  uint64_t size() const override { return entry_.size; }

 private:
  void verify() const {
    Handle handle = zip_->open(entry_);
    std::vector<char> block(std::min<uint64_t>(entry_.size, 1 << 20));
    for (uint64_t left = entry_.size; left > 0;) {
      const uint64_t some = std::min<uint64_t>(left, block.size());
      zip_->read(entry_, handle.get(), block.data(), some);
      left -= some;
    }
    zip_->expect_end(entry_, handle.get());
    handle_ = std::move(handle);
  }

  std::shared_ptr<OpenZip> zip_;
  ZipEntry entry_;
  mutable Handle handle_{nullptr, zip_fclose};
};

class InflatedEntry : public ByteSource {
 public:
  InflatedEntry(std::shared_ptr<OpenZip> zip, ZipEntry entry)
      : zip_(std::move(zip)), entry_(std::move(entry)) {}

  void read(uint64_t offset, void* into, size_t bytes) const override {
    check_range(zip_->file, entry_, offset, bytes);
    if (bytes == 0) return;
    const std::lock_guard hold(zip_->mutex);
    if (!bytes_) inflate();
    std::memcpy(into, bytes_.get() + offset, bytes);
  }
  uint64_t size() const override { return entry_.size; }

 private:
  void inflate() const {
    require_room(static_cast<int64_t>(entry_.size),
                 fmt::format("{}: entry '{}', inflated,", zip_->file, entry_.name),
                 "write the archive uncompressed");
    within_memory(zip_->file, [&] {
      // Not initialised: what a false size claims is never touched.
      std::unique_ptr<char[]> inflated(new char[entry_.size]);
      const Handle handle = zip_->open(entry_);
      zip_->read(entry_, handle.get(), inflated.get(), entry_.size);
      zip_->expect_end(entry_, handle.get());
      bytes_ = std::move(inflated);
    });
  }

  std::shared_ptr<OpenZip> zip_;
  ZipEntry entry_;
  mutable std::unique_ptr<char[]> bytes_;
};

}  // namespace

ZipArchive::ZipArchive(const std::filesystem::path& file) : zip_(std::make_shared<OpenZip>()) {
  zip_->file = file.string();
  check_zip_directory(zip_->file, *open_bytes(file));
  int fault = 0;
  zip_->zip = zip_open(file.c_str(), ZIP_RDONLY | ZIP_CHECKCONS, &fault);
  if (zip_->zip == nullptr) {
    zip_error_t error;
    zip_error_init_with_code(&error, fault);
    const std::string why =
        fault == ZIP_ER_EXISTS ? "two entries have one name" : zip_error_strerror(&error);
    zip_error_fini(&error);
    refuse(zip_->file, why);
  }
  const auto count = static_cast<uint64_t>(zip_get_num_entries(zip_->zip, 0));
  if (count > kMostZipEntries)
    refuse(zip_->file, fmt::format("{} entries, expected at most {}", count, kMostZipEntries));
  for (uint64_t index = 0; index < count; ++index) {
    entries_.push_back(describe(zip_->file, zip_->zip, index));
    if (!indices_.emplace(entries_.back().name, index).second)
      refuse(zip_->file, fmt::format("two entries have the name '{}'", entries_.back().name));
  }
}

const ZipEntry* ZipArchive::find(const std::string& name) const {
  const auto found = indices_.find(name);
  return found == indices_.end() ? nullptr : &entries_[found->second];
}

std::string ZipArchive::head(const ZipEntry& entry, uint64_t bytes) const {
  std::string start(std::min(bytes, entry.size), '\0');
  if (start.empty()) return start;
  const std::lock_guard hold(zip_->mutex);
  zip_->read(entry, zip_->open(entry).get(), start.data(), start.size());
  return start;
}

std::string ZipArchive::text(const ZipEntry& entry, uint64_t most) const {
  if (entry.size > most) {
    refuse_entry(zip_->file, entry.name,
                 fmt::format("has {} bytes, expected at most {}", entry.size, most));
  }
  std::string bytes(entry.size, '\0');
  if (bytes.empty()) return bytes;
  const std::lock_guard hold(zip_->mutex);
  const Handle handle = zip_->open(entry);
  zip_->read(entry, handle.get(), bytes.data(), bytes.size());
  zip_->expect_end(entry, handle.get());
  return bytes;
}

std::shared_ptr<const ByteSource> ZipArchive::open(const ZipEntry& entry) const {
  if (entry.deflated) return std::make_shared<InflatedEntry>(zip_, entry);
  return std::make_shared<StoredEntry>(zip_, entry);
}

}  // namespace assay::data
