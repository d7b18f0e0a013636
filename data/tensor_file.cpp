#include "data/tensor_file.h"

#include <fcntl.h>
#include <fmt/core.h>
#include <fmt/ranges.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "data/base/within_memory.h"
#include "kernels/base/dtype.h"
#include "kernels/base/error.h"

namespace assay::data {

namespace {

constexpr int64_t kBlock = 1 << 20;  // elements converted at once

class WholeFile : public ByteSource {
 public:
  explicit WholeFile(const std::filesystem::path& file)
      : name_(file.string()), fd_(::open(file.c_str(), O_RDONLY | O_CLOEXEC)) {
    struct stat status {};
    if (fd_ < 0 || ::fstat(fd_, &status) != 0 || !S_ISREG(status.st_mode)) {
      const int error = fd_ < 0 ? errno : 0;
      if (fd_ >= 0) ::close(fd_);
      throw Error(fmt::format("{}: cannot open the file{}", name_,
                              error != 0 ? std::string(": ") + std::strerror(error) : ""));
    }
    size_ = static_cast<uint64_t>(status.st_size);
  }
  ~WholeFile() override { ::close(fd_); }

  void read(uint64_t offset, void* into, size_t bytes) const override {
    auto* at = static_cast<char*>(into);
    while (bytes > 0) {
      const ssize_t got = ::pread(fd_, at, bytes, static_cast<off_t>(offset));
      if (got < 0 && errno == EINTR) continue;
      if (got <= 0) {
        throw Error(fmt::format(
            "{}: {} bytes are missing at byte {}: truncated while it was read; write it anew",
            name_, bytes, offset));
      }
      at += got, offset += static_cast<uint64_t>(got), bytes -= static_cast<size_t>(got);
    }
  }
  uint64_t size() const override { return size_; }

 private:
  std::string name_;
  int fd_;
  uint64_t size_ = 0;
};

std::vector<float> gather(const Tensor& tensor, int64_t rows, int64_t cols, int64_t row_stride,
                          int64_t col_stride) {
  // The elements lie within one range of the source, which was checked when the tensor was found.
  const int64_t reach = (rows - 1) * row_stride + (cols - 1) * col_stride + 1;
  Tensor flat = tensor;
  flat.shape = {reach};
  flat.strides.clear();
  std::vector<float> range(static_cast<size_t>(reach)), values(static_cast<size_t>(rows * cols));
  flat.read_floats(0, reach, range.data());
  constexpr int64_t kTile = 64;  // both sides of a tile stay in the first-level cache
  for (int64_t i0 = 0; i0 < rows; i0 += kTile) {
    for (int64_t j0 = 0; j0 < cols; j0 += kTile) {
      for (int64_t i = i0; i < std::min(rows, i0 + kTile); ++i) {
        for (int64_t j = j0; j < std::min(cols, j0 + kTile); ++j)
          values[static_cast<size_t>(i * cols + j)] =
              range[static_cast<size_t>(i * row_stride + j * col_stride)];
      }
    }
  }
  return values;
}

/// The transpose [cols, rows] of rows that lie one behind another, in the memory of a band of them
/// besides.
std::vector<float> transpose_rows(const Tensor& tensor) {
  constexpr int64_t kBand = 64, kTile = 16;  // a line of the cache from each of the band's rows
  const int64_t rows = tensor.shape[0], cols = tensor.shape[1];
  std::vector<float> values(static_cast<size_t>(rows * cols));
  std::vector<float> band(static_cast<size_t>(std::min(kBand, rows) * cols));
  for (int64_t first = 0; first < rows; first += kBand) {
    const int64_t some = std::min(kBand, rows - first);
    tensor.read_floats(first * cols, some * cols, band.data());
    for (int64_t j0 = 0; j0 < cols; j0 += kTile) {
      for (int64_t j = j0; j < std::min(cols, j0 + kTile); ++j) {
        float* to = values.data() + j * rows + first;
        for (int64_t i = 0; i < some; ++i) to[i] = band[static_cast<size_t>(i * cols + j)];
      }
    }
  }
  return values;
}

/// The strides of a tensor of one or two dimensions, as of two.
std::pair<int64_t, int64_t> strides_of(const Tensor& tensor) {
  if (!tensor.strides.empty()) {
    return {tensor.shape.size() == 2 ? tensor.strides[0] : 0, tensor.strides.back()};
  }
  return {tensor.shape.size() == 2 ? tensor.shape[1] : 0, 1};
}

template <class T>
void widen(const std::vector<std::byte>& from, std::vector<int64_t>& to) {
  for (size_t i = 0; i < to.size(); ++i) {
    T value;
    std::memcpy(&value, from.data() + i * sizeof(T), sizeof(T));
    to[i] = value;
  }
}

}  // namespace

std::shared_ptr<const ByteSource> open_bytes(const std::filesystem::path& file) {
  return std::make_shared<WholeFile>(file);
}

int64_t element_bytes(const std::string& dtype) {
  static const std::map<std::string, int64_t> widths{
      {"F64", 8}, {"F32", 4}, {"F16", 2},  {"BF16", 2}, {"I64", 8}, {"I32", 4}, {"I16", 2},
      {"I8", 1},  {"U8", 1},  {"BOOL", 1}, {"U16", 2},  {"U32", 4}, {"U64", 8}};
  const auto found = widths.find(dtype);
  return found == widths.end() ? 0 : found->second;
}

int64_t shape_product(const std::vector<int64_t>& shape) {
  int64_t total = 1;
  for (const int64_t extent : shape) {
    if (extent < 0 || __builtin_mul_overflow(total, extent, &total)) return -1;
  }
  return total;
}

int64_t Tensor::elements() const { return shape_product(shape); }

bool Tensor::is_float() const {
  return dtype == "F64" || dtype == "F32" || dtype == "F16" || dtype == "BF16";
}

void Tensor::read_floats(int64_t first, int64_t count, float* out) const {
  const int64_t width = element_bytes(dtype);
  const uint64_t begin = offset + static_cast<uint64_t>(first * width);
  if (dtype == "F32") return source->read(begin, out, static_cast<size_t>(4 * count));
  std::vector<std::byte> block(static_cast<size_t>(width * std::min(count, kBlock)));
  for (int64_t done = 0; done < count; done += kBlock) {
    const int64_t some = std::min(kBlock, count - done);
    source->read(begin + static_cast<uint64_t>(done * width), block.data(),
                 static_cast<size_t>(some * width));
    if (dtype != "F64") {
      to_float(dtype == "F16" ? DType::f16 : DType::bf16, block.data(), out + done, some);
      continue;
    }
    for (int64_t i = 0; i < some; ++i) {
      double value = 0;
      std::memcpy(&value, block.data() + 8 * i, 8);
      out[done + i] = static_cast<float>(value);
    }
  }
}

const Tensor& TensorFile::at(const std::string& name, const std::vector<int64_t>& shape) const {
  const auto found = tensors.find(name);
  if (found == tensors.end()) throw Error(fmt::format("{}: no tensor '{}'", path.string(), name));
  const Tensor& tensor = found->second;
  bool fits = tensor.shape.size() == shape.size();
  for (size_t i = 0; fits && i < shape.size(); ++i)
    fits = shape[i] == -1 || shape[i] == tensor.shape[i];
  if (!fits) {
    throw Error(fmt::format("{}: tensor '{}' has shape [{}], expected [{}] (-1 = any)",
                            path.string(), name, fmt::join(tensor.shape, ", "),
                            fmt::join(shape, ", ")));
  }
  return tensor;
}

namespace {

const Tensor& float_tensor(const TensorFile& file, const std::string& name,
                           const std::vector<int64_t>& shape) {
  const Tensor& tensor = file.at(name, shape);
  if (tensor.is_float()) return tensor;
  throw Error(fmt::format("{}: tensor '{}' is {}, expected F64, F32, F16 or BF16; convert it",
                          file.path.string(), name, tensor.dtype));
}

}  // namespace

std::vector<float> TensorFile::floats(const std::string& name,
                                      const std::vector<int64_t>& shape) const {
  const Tensor& tensor = float_tensor(*this, name, shape);
  return within_memory(path.string(), [&] {
    if (tensor.strides.empty() || tensor.elements() == 0) {
      std::vector<float> values(static_cast<size_t>(tensor.elements()));
      tensor.read_floats(0, tensor.elements(), values.data());
      return values;
    }
    const auto [row, col] = strides_of(tensor);
    return gather(tensor, tensor.shape.size() == 2 ? tensor.shape[0] : 1, tensor.shape.back(), row,
                  col);
  });
}

std::vector<float> TensorFile::transposed(const std::string& name,
                                          const std::vector<int64_t>& shape) const {
  const Tensor& tensor = float_tensor(*this, name, shape);
  if (tensor.elements() == 0) return {};
  return within_memory(path.string(), [&] {
    if (tensor.strides.empty()) return transpose_rows(tensor);
    const auto [row, col] = strides_of(tensor);
    return gather(tensor, tensor.shape[1], tensor.shape[0], col, row);
  });
}

std::vector<int64_t> TensorFile::integers(const std::string& name,
                                          const std::vector<int64_t>& shape) const {
  const Tensor& tensor = at(name, shape);
  const int64_t width = element_bytes(tensor.dtype);
  if (tensor.dtype.front() != 'I' || width == 0 || !tensor.strides.empty()) {
    throw Error(fmt::format("{}: tensor '{}' is {}, expected I64, I32, I16 or I8; convert it",
                            path.string(), name, tensor.dtype));
  }
  return within_memory(path.string(), [&] {
    std::vector<int64_t> values(static_cast<size_t>(tensor.elements()));
    std::vector<std::byte> bytes(values.size() * static_cast<size_t>(width));
    tensor.source->read(tensor.offset, bytes.data(), bytes.size());
    if (width == 8) widen<int64_t>(bytes, values);
    if (width == 4) widen<int32_t>(bytes, values);
    if (width == 2) widen<int16_t>(bytes, values);
    if (width == 1) widen<int8_t>(bytes, values);
    return values;
  });
}

}  // namespace assay::data
