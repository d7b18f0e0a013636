// safetensors files (8-byte header length, JSON header, raw little-endian tensors), read as hostile
// input.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

namespace assay::data {

/// One tensor of a file: dtype as the format spells it ("F32", "F16", "BF16", "I64", …), shape,
/// bytes.
struct Tensor {
  std::string dtype;
  std::vector<int64_t> shape;
  std::vector<std::byte> bytes;

  int64_t elements() const;
};

/// A tensor to be written; the bytes stay the caller's.
struct TensorView {
  std::string dtype;
  std::vector<int64_t> shape;
  const void* data = nullptr;
  size_t bytes = 0;
};
TensorView view_of(const std::vector<float>& values, std::vector<int64_t> shape);
TensorView view_of(const std::vector<int64_t>& values);

struct TensorFile {
  std::map<std::string, Tensor> tensors;
  std::map<std::string, std::string> metadata;

  /// The tensor of that name with that shape; -1 matches any extent. Throws Error naming file, key,
  /// expected, found.
  const Tensor& at(const std::string& name, const std::vector<int64_t>& shape) const;
  /// Its values as fp32 (from F32, F16 or BF16), or int64 (from I64). Throw Error also if it is of
  /// another dtype.
  std::vector<float> floats(const std::string& name, const std::vector<int64_t>& shape) const;
  std::vector<int64_t> integers(const std::string& name, const std::vector<int64_t>& shape) const;
  std::filesystem::path path;  ///< where it was read from, for messages
};

/// Throws Error naming the file and the fault: header too long, offsets out of range, overlapping
/// or with gaps, a size that does not match dtype and shape.
TensorFile read_safetensors(const std::filesystem::path& file);
/// Written beside, fsynced, renamed. Tensors are laid out in name order: equal content gives equal
/// bytes. They are streamed, without a copy. Returns the SHA-256 of the file, summed on the way.
std::string write_safetensors(const std::map<std::string, TensorView>& tensors,
                              const std::filesystem::path& file);

}  // namespace assay::data
