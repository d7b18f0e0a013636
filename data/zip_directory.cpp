#include "data/zip_directory.h"

#include <fmt/core.h>

#include <algorithm>
#include <cstring>

#include "kernels/base/error.h"

namespace assay::data {

namespace {

constexpr size_t kEnd = 22, kLocator = 20, kEnd64 = 56;  // bytes of the three records
constexpr size_t kTail = kEnd + 65535 + kLocator;        // with the longest comment
constexpr uint64_t kLargest = 32u << 20;

struct Directory {
  uint64_t entries = 0, bytes = 0, offset = 0;
  uint64_t end = 0;  ///< where its end record begins
};

[[noreturn]] void refuse(const std::string& where, const std::string& why) {
  throw Error(fmt::format("{}: not a valid zip archive: {}; write it anew", where, why));
}

template <class T>
uint64_t number(const std::string& bytes, size_t at) {
  T value;
  std::memcpy(&value, bytes.data() + at, sizeof value);
  return value;
}

/// What the end record at `at` of the archive's tail announces, or the 64-bit one that a locator
/// before it points to.
Directory read_directory(const std::string& where, const ByteSource& archive,
                         const std::string& tail, size_t at) {
  const uint64_t start = archive.size() - tail.size();
  if (at < kLocator || tail.compare(at - kLocator, 4, "PK\6\7") != 0) {
    return {number<uint16_t>(tail, at + 10), number<uint32_t>(tail, at + 12),
            number<uint32_t>(tail, at + 16), start + at};
  }
  const uint64_t place = number<uint64_t>(tail, at - kLocator + 8);
  if (place > start + at || start + at - place < kEnd64 + kLocator)
    refuse(where, "its end record lies outside the file");
  std::string end(kEnd64, '\0');
  archive.read(place, end.data(), end.size());
  return {std::max(number<uint64_t>(end, 24), number<uint64_t>(end, 32)), number<uint64_t>(end, 40),
          number<uint64_t>(end, 48), place};
}

}  // namespace

void check_zip_directory(const std::string& where, const ByteSource& archive) {
  std::string tail(std::min<uint64_t>(archive.size(), kTail), '\0');
  archive.read(archive.size() - tail.size(), tail.data(), tail.size());
  int ends = 0;
  for (size_t at = tail.find("PK\5\6"); at != std::string::npos; at = tail.find("PK\5\6", at + 1)) {
    // Chance may write the four letters into an entry. An end record's comment ends with the file.
    if (tail.size() - at < kEnd || at + kEnd + number<uint16_t>(tail, at + 20) != tail.size())
      continue;
    const Directory directory = read_directory(where, archive, tail, at);
    if (directory.entries > kMostZipEntries || directory.bytes > kLargest) {
      refuse(where, fmt::format("{} entries in a directory of {} bytes, expected at most {} in {}",
                                directory.entries, directory.bytes, kMostZipEntries, kLargest));
    }
    if (directory.offset > directory.end || directory.bytes != directory.end - directory.offset)
      refuse(where, "its directory does not end where its end record begins");
    ++ends;
  }
  if (ends == 0) refuse(where, "it has no end record: truncated, or no zip archive");
  if (ends > 1) refuse(where, "it has several end records");
}

}  // namespace assay::data
