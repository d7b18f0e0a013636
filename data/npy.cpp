#include "data/npy.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <charconv>
#include <cstring>
#include <vector>

#include "kernels/base/dtype.h"
#include "kernels/base/error.h"

namespace assay::data {
namespace {

/// The text after `'key':`, blanks skipped; "" where the key is missing.
std::string value_of(const std::string& header, const std::string& key) {
  const size_t at = header.find("'" + key + "'");
  if (at == std::string::npos) return "";
  const size_t colon = header.find(':', at);
  if (colon == std::string::npos) return "";
  const size_t start = header.find_first_not_of(' ', colon + 1);
  return start == std::string::npos ? "" : header.substr(start);
}

/// The integers of "(3, 4)"; none where it is no such thing.
std::optional<std::vector<int64_t>> parse_shape(const std::string& text) {
  std::vector<int64_t> shape;
  if (text.empty() || text[0] != '(') return std::nullopt;
  const char* at = text.data() + 1;
  const char* end = text.data() + text.size();
  while (at < end && *at != ')') {
    if (*at == ' ' || *at == ',') {
      ++at;
      continue;
    }
    int64_t value = 0;
    const auto [next, failed] = std::from_chars(at, end, value);
    if (failed != std::errc() || value < 0) return std::nullopt;
    shape.push_back(value);
    at = next;
  }
  return shape;
}

}  // namespace

NpyHeader read_npy_header(const std::string& where,
                          const std::function<bool(char* into, size_t bytes)>& next) {
  char start[12] = {};
  if (!next(start, 8) || std::memcmp(start, "\x93NUMPY", 6) != 0 || start[6] < 1 || start[6] > 3)
    throw Error(where + ": not a .npy file; save the array with numpy.save");
  const size_t length_bytes = start[6] == 1 ? 2 : 4;
  const bool has_length = next(start + 8, length_bytes);
  uint32_t length = 0;
  std::memcpy(&length, start + 8, length_bytes);
  if (!has_length || length > 65536)
    throw Error(where + ": damaged .npy header; write it anew with numpy.save");
  std::string header(length, '\0');
  if (!next(header.data(), length)) throw Error(where + ": truncated .npy header");
  return {value_of(header, "descr"), value_of(header, "fortran_order"),
          parse_shape(value_of(header, "shape")), static_cast<int64_t>(8 + length_bytes + length)};
}

NpyFile::NpyFile(const std::filesystem::path& path) : where_(path.string()) {
  std::error_code failed;
  const auto size = static_cast<int64_t>(std::filesystem::file_size(path, failed));
  if (failed) throw Error(where_ + ": no such file");
  file_.open(path, std::ios::binary);
  const NpyHeader header = read_npy_header(where_, [&](char* into, size_t bytes) {
    file_.read(into, static_cast<std::streamsize>(bytes));
    return static_cast<bool>(file_);
  });
  judge(header);
  const int64_t held = size - header.bytes;
  if (d_ < 1 || d_ > (1 << 20) || rows_ > held / (d_ * element_bytes_) ||
      held != rows_ * d_ * element_bytes_) {
    throw Error(fmt::format("{}: {} bytes do not hold [{}] elements of {} bytes; write it anew",
                            where_, held, fmt::join(shape_, ", "), element_bytes_));
  }
}

void NpyFile::judge(const NpyHeader& header) {
  const std::string type = header.descr.substr(0, 5);
  for (const int bytes : {2, 4, 8}) {
    if (type == fmt::format("'<f{}'", bytes)) element_bytes_ = bytes;
  }
  if (element_bytes_ == 0)
    throw Error(fmt::format("{}: element type {}; expected '<f2', '<f4' or '<f8'", where_, type));
  if (header.fortran_order.substr(0, 5) != "False") {
    throw Error(where_ + ": stored in Fortran order; save numpy.ascontiguousarray(x)");
  }
  const std::vector<int64_t> shape = header.shape.value_or(std::vector<int64_t>{});
  if (shape.size() != 2 && shape.size() != 3)
    throw Error(fmt::format("{}: {} dimensions; expected [rows, d]", where_, shape.size()));
  shape_ = shape;
  rows_ = shape[0];
  d_ = shape.back();
  if (shape.size() == 3 && __builtin_mul_overflow(rows_, shape[1], &rows_)) rows_ = INT64_MAX;
}

void NpyFile::read(int64_t rows, float* out) {
  const int64_t count = rows * d_;
  std::vector<char> bytes(static_cast<size_t>(count * element_bytes_));
  file_.read(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  if (!file_) throw Error(where_ + ": truncated");
  if (element_bytes_ == 8) {
    for (int64_t i = 0; i < count; ++i) {
      double value = 0;
      std::memcpy(&value, bytes.data() + 8 * i, 8);
      out[i] = static_cast<float>(value);
    }
    return;
  }
  to_float(element_bytes_ == 2 ? DType::f16 : DType::f32, bytes.data(), out, count);
}

}  // namespace assay::data
