#include <fmt/core.h>
#include <zlib.h>

#include <algorithm>

#include "data/zip_archive.h"
#include "kernels/base/error.h"

namespace assay::data {

namespace {

constexpr uint64_t kAlignment = 64;
constexpr size_t kBlock = 1 << 22;                  // hashed while it is still in cache
constexpr uint64_t kIn64Bits = 0xffffffff;          // a 32-bit field's "see the extra field"
constexpr uint16_t kManyEntries = 0xffff;           // the same of a number of entries
constexpr uint64_t kVersion = 20, kVersion64 = 45;  // of the format, that a reader must know
constexpr uint16_t kUtf8Name = 1 << 11;             // among an entry's flags
constexpr uint16_t kFirstOf1980 = (1 << 5) | 1;     // the earliest date

/// Little-endian fields, one behind another.
class Record {
 public:
  Record& u16(uint64_t value) { return add(value, 2); }
  Record& u32(uint64_t value) { return add(value, 4); }
  Record& u64(uint64_t value) { return add(value, 8); }
  Record& text(std::string_view bytes) {
    bytes_ += bytes;
    return *this;
  }
  const std::string& bytes() const { return bytes_; }

 private:
  Record& add(uint64_t value, int bytes) {
    for (int i = 0; i < bytes; ++i) bytes_ += static_cast<char>(value >> (8 * i) & 0xff);
    return *this;
  }
  std::string bytes_;
};

uint64_t low(uint64_t value) { return std::min(value, kIn64Bits); }
/// Fields from "version needed" to the sizes, which both headers of an entry have.
void describe(Record& record, uint64_t version, uint32_t checksum, uint64_t size) {
  record.u16(version).u16(kUtf8Name).u16(0).u16(0).u16(kFirstOf1980).u32(checksum);
  record.u32(low(size)).u32(low(size));
}

std::string local_header(const std::string& name, uint64_t at, uint32_t checksum, uint64_t size) {
  const bool wide = size >= kIn64Bits;
  Record extra;
  if (wide) extra.u16(1).u16(16).u64(size).u64(size);
  constexpr uint64_t kFixed = 30, kExtraHead = 4;
  const uint64_t before = at + kFixed + name.size() + extra.bytes().size() + kExtraHead;
  const uint64_t padding = (kAlignment - before % kAlignment) % kAlignment;
  extra.text("FB").u16(padding).text(std::string(padding, 'Z'));
  Record header;
  header.text("PK\3\4");
  describe(header, wide ? kVersion64 : kVersion, checksum, size);
  header.u16(name.size()).u16(extra.bytes().size()).text(name).text(extra.bytes());
  return header.bytes();
}

std::string directory_entry(const std::string& name, uint64_t offset, uint32_t checksum,
                            uint64_t size) {
  const bool wide = size >= kIn64Bits, far = offset >= kIn64Bits;
  Record extra;
  if (wide || far) extra.u16(1).u16((wide ? 16 : 0) + (far ? 8 : 0));
  if (wide) extra.u64(size).u64(size);
  if (far) extra.u64(offset);
  Record entry;
  const uint64_t version = wide || far ? kVersion64 : kVersion;
  entry.text("PK\1\2").u16(version);
  describe(entry, version, checksum, size);
  entry.u16(name.size()).u16(extra.bytes().size()).u16(0).u16(0).u16(0).u32(0).u32(low(offset));
  entry.text(name).text(extra.bytes());
  return entry.bytes();
}

std::string end_of(uint64_t entries, uint64_t offset, uint64_t bytes) {
  Record end;
  if (entries >= kManyEntries || offset >= kIn64Bits || bytes >= kIn64Bits) {
    end.text("PK\6\6").u64(44).u16(45).u16(45).u32(0).u32(0);
    end.u64(entries).u64(entries).u64(bytes).u64(offset);
    end.text("PK\6\7").u32(0).u64(offset + bytes).u32(1);
  }
  const uint64_t few = std::min<uint64_t>(entries, kManyEntries);
  end.text("PK\5\6").u16(0).u16(0).u16(few).u16(few).u32(low(bytes)).u32(low(offset)).u16(0);
  return end.bytes();
}

}  // namespace

ZipWriter::ZipWriter(const std::filesystem::path& file) : out_(file) {}

void ZipWriter::put(std::string_view bytes) {
  for (size_t done = 0; done < bytes.size(); done += kBlock) {
    const std::string_view some = bytes.substr(done, kBlock);
    sum_.add(some.data(), some.size());
    out_.write(some.data(), some.size());
  }
  at_ += bytes.size();
}

void ZipWriter::add(const std::string& name, const std::vector<std::string_view>& parts) {
  if (name.size() > 0xffff)
    throw Error(fmt::format("{}: a name of {} bytes, expected at most 65535", name.substr(0, 100),
                            name.size()));
  uint64_t size = 0;
  uLong checksum = crc32_z(0, nullptr, 0);
  for (const std::string_view part : parts) {
    if (part.empty()) continue;  // which may have no bytes to point to
    checksum = crc32_z(checksum, reinterpret_cast<const Bytef*>(part.data()), part.size());
    size += part.size();
  }
  entries_.push_back({name, at_, size, static_cast<uint32_t>(checksum)});
  put(local_header(name, at_, static_cast<uint32_t>(checksum), size));
  for (const std::string_view part : parts) put(part);
}

std::string ZipWriter::finish() {
  const uint64_t offset = at_;
  for (const Written& entry : entries_)
    put(directory_entry(entry.name, entry.offset, entry.checksum, entry.size));
  put(end_of(entries_.size(), offset, at_ - offset));
  out_.finish();
  return sum_.hex();
}

}  // namespace assay::data
