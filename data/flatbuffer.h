// The few reads of the FlatBuffers binary format that Arrow's metadata needs; every offset is
// checked.
#pragma once

#include <cstdint>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include "kernels/base/error.h"

namespace assay::data {

/// Positions are bytes from the start; fields are numbered as in the schema. A field that is absent
/// has position 0.
class Flatbuffer {
 public:
  Flatbuffer(const std::string& bytes, std::string where)
      : bytes_(bytes), where_(std::move(where)) {}

  int64_t root() const { return forward(0); }
  bool has(int64_t table, int field) const { return place(table, field) != 0; }
  template <class T>
  T scalar(int64_t table, int field, T otherwise) const {
    const int64_t at = place(table, field);
    return at == 0 ? otherwise : get<T>(at);
  }
  /// A table inside a table; Error where it is absent.
  int64_t table(int64_t table, int field) const {
    const int64_t at = place(table, field);
    if (at == 0) damaged();
    return forward(at);
  }
  std::string text(int64_t table, int field) const {
    const int64_t at = place(table, field);
    if (at == 0) return "";
    const int64_t start = forward(at), length = get<uint32_t>(start);
    require(start + 4, length);
    return bytes_.substr(static_cast<size_t>(start + 4), static_cast<size_t>(length));
  }
  /// A vector of tables.
  std::vector<int64_t> tables(int64_t table, int field) const {
    std::vector<int64_t> found;
    const auto [start, count] = vector(table, field, 4);
    for (int64_t i = 0; i < count; ++i) found.push_back(forward(start + 4 * i));
    return found;
  }
  /// A vector of structs of two int64.
  std::vector<std::pair<int64_t, int64_t>> pairs(int64_t table, int field) const {
    std::vector<std::pair<int64_t, int64_t>> found;
    const auto [start, count] = vector(table, field, 16);
    for (int64_t i = 0; i < count; ++i)
      found.emplace_back(get<int64_t>(start + 16 * i), get<int64_t>(start + 16 * i + 8));
    return found;
  }

 private:
  [[noreturn]] void damaged() const { throw Error(where_ + ": damaged metadata"); }
  void require(int64_t at, int64_t count) const {
    const auto size = static_cast<int64_t>(bytes_.size());
    if (at < 0 || count < 0 || at > size || count > size - at) damaged();
  }
  template <class T>
  T get(int64_t at) const {
    require(at, sizeof(T));
    T value;
    std::memcpy(&value, bytes_.data() + at, sizeof(T));
    return value;
  }
  int64_t forward(int64_t at) const { return at + get<uint32_t>(at); }
  int64_t place(int64_t table, int field) const {
    const int64_t names = table - get<int32_t>(table), entry = 4 + 2 * field;
    if (entry + 2 > get<uint16_t>(names)) return 0;
    const int64_t offset = get<uint16_t>(names + entry);
    return offset == 0 ? 0 : table + offset;
  }
  /// Start and length of a vector whose elements have `width` bytes.
  std::pair<int64_t, int64_t> vector(int64_t table, int field, int64_t width) const {
    const int64_t at = place(table, field);
    if (at == 0) return {0, 0};
    const int64_t start = forward(at), count = get<uint32_t>(start);
    require(start + 4, count * width);
    return {start + 4, count};
  }

  const std::string& bytes_;
  std::string where_;
};

}  // namespace assay::data
