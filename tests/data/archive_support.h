// Zip archives byte by byte, honest or not, and pickles by hand.
#pragma once

#include <cstdint>
#include <fstream>
#include <functional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "kernels/base/error.h"
#include "tests/support/files.h"

namespace assay::data::testing {

/// CRC-32 of zip (IEEE 802.3), bit by bit.
inline uint32_t crc32_of(std::string_view bytes) {
  uint32_t crc = ~0u;
  for (const char byte : bytes) {
    crc ^= static_cast<unsigned char>(byte);
    for (int bit = 0; bit < 8; ++bit) crc = crc >> 1 ^ (0xedb88320u & (0u - (crc & 1)));
  }
  return ~crc;
}

inline std::string little(uint64_t value, int bytes) {
  std::string text;
  for (int i = 0; i < bytes; ++i, value >>= 8) text += static_cast<char>(value & 0xff);
  return text;
}

/// What an entry's headers say. They are true unless something is changed.
struct RawEntry {
  RawEntry(std::string entry_name, std::string content)
      : name(std::move(entry_name)), packed(std::move(content)), size(packed.size()) {
    checksum = crc32_of(packed);
  }
  std::string name, packed;
  uint64_t size;
  uint32_t checksum;
  int method = 0, flags = 0;
};

/// Deflated, in one block that is stored as it is.
inline RawEntry deflated(const std::string& name, const std::string& content) {
  RawEntry entry(name, content);
  const auto length = static_cast<uint16_t>(content.size());
  entry.packed = "\x01" + little(length, 2) + little(static_cast<uint16_t>(~length), 2) + content;
  entry.method = 8;
  return entry;
}

inline std::string fields_of(const RawEntry& entry) {
  return little(20, 2) + little(static_cast<uint64_t>(entry.flags), 2) +
         little(static_cast<uint64_t>(entry.method), 2) + little(0, 2) + little(33, 2) +
         little(entry.checksum, 4) + little(entry.packed.size(), 4) + little(entry.size, 4);
}

inline std::string zip_of(const std::vector<RawEntry>& entries) {
  std::string all, directory;
  for (const RawEntry& entry : entries) {
    const std::string name = little(entry.name.size(), 2) + little(0, 2);
    directory += "PK\1\2" + little(20, 2) + fields_of(entry) + name + little(0, 10) +
                 little(all.size(), 4) + entry.name;
    all += "PK\3\4" + fields_of(entry) + name + entry.name + entry.packed;
  }
  const std::string count = little(entries.size(), 2);
  return all + directory + "PK\5\6" + little(0, 4) + count + count + little(directory.size(), 4) +
         little(all.size(), 4) + little(0, 2);
}

inline void write_bytes(const std::filesystem::path& file, std::string_view bytes) {
  std::filesystem::remove(file);  // some file systems flush what is cut to nothing and written anew
  std::ofstream(file, std::ios::binary | std::ios::trunc) << bytes;
}

/// The text of the Error that `work` throws; "" where it throws none.
inline std::string refusal_of(const std::function<void()>& work) {
  try {
    work();
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

// Pickles of protocol 2 by their opcodes.
inline std::string pickled(std::string_view opcodes) {
  return std::string("\x80\x02").append(opcodes) + ".";
}
inline std::string p_text(std::string_view text) {
  return "X" + little(text.size(), 4) + std::string(text);
}
inline std::string p_int(int64_t value) {
  return "\x8a\x08" + little(static_cast<uint64_t>(value), 8);
}
inline std::string p_name(const std::string& module, const std::string& name) {
  return "c" + module + "\n" + name + "\n";
}
inline std::string p_tuple(const std::vector<int64_t>& values) {
  std::string text = "(";
  for (const int64_t value : values) text += p_int(value);
  return text + "t";
}

/// A tensor as torch writes it; each part may be something else.
struct RawTensor {
  std::string storage = p_name("torch", "FloatStorage");
  std::string key = p_text("0");
  std::string held = p_int(6), first = p_int(0);
  std::string shape = p_tuple({2, 3}), strides = p_tuple({3, 1});
  std::string end;  ///< of the arguments

  std::string pickle() const {
    return p_name("torch._utils", "_rebuild_tensor_v2") + "((" + p_text("storage") + storage + key +
           p_text("cpu") + held + "tQ" + first + shape + strides + "\x89" +
           p_name("collections", "OrderedDict") + ")R" + end + "tR";
  }
};

}  // namespace assay::data::testing
