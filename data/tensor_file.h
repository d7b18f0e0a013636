// Named tensors of a file of any container (safetensors, torch, npz): what they are is known at
// once, their bytes are read when asked for. So a dictionary is loaded in the memory of the
// dictionary and one tensor.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <vector>

namespace assay::data {

/// Bytes of a file, or of a part of an archive, read in place.
class ByteSource {
 public:
  virtual ~ByteSource() = default;
  ByteSource() = default;
  ByteSource(const ByteSource&) = delete;
  ByteSource& operator=(const ByteSource&) = delete;
  /// Throws Error where they cannot all be read (a file that shrank).
  virtual void read(uint64_t offset, void* into, size_t bytes) const = 0;
  virtual uint64_t size() const = 0;
};
/// A whole file. Throws Error where it cannot be opened.
std::shared_ptr<const ByteSource> open_bytes(const std::filesystem::path& file);

/// One tensor: dtype as safetensors spells it ("F32", "F16", "BF16", "I64", …), shape, and where
/// its elements are.
struct Tensor {
  std::string dtype;
  std::vector<int64_t> shape;
  /// Elements from one index to the next, per axis; empty: row after row without gaps.
  std::vector<int64_t> strides = {};
  uint64_t offset = 0;  ///< of its first element in the source
  std::shared_ptr<const ByteSource> source = {};

  int64_t elements() const;
  /// Elements [first, first + count), row after row, as fp32 (from F64, F32, F16 or BF16: see
  /// is_float). Not for a tensor with strides.
  void read_floats(int64_t first, int64_t count, float* out) const;
  bool is_float() const;
};

/// Bytes of an element of that dtype; 0 for types (as float8) that are carried along but not looked
/// into.
int64_t element_bytes(const std::string& dtype);
/// The product of a shape, or -1 where it is negative somewhere or overflows.
int64_t shape_product(const std::vector<int64_t>& shape);

struct TensorFile {
  std::map<std::string, Tensor> tensors;
  std::map<std::string, std::string> metadata;
  std::filesystem::path path;  ///< where it was read from, for messages

  bool has(const std::string& name) const { return tensors.count(name) > 0; }
  /// The tensor of that name with that shape; -1 matches any extent. Throws Error naming file, key,
  /// expected, found.
  const Tensor& at(const std::string& name, const std::vector<int64_t>& shape) const;
  /// Its values as fp32 (from F64, F32, F16 or BF16), or int64 (from any signed integer type).
  /// Throw Error also if it is of another dtype.
  std::vector<float> floats(const std::string& name, const std::vector<int64_t>& shape) const;
  std::vector<int64_t> integers(const std::string& name, const std::vector<int64_t>& shape) const;
  /// Of a matrix [rows, cols]: the values of its transpose [cols, rows].
  std::vector<float> transposed(const std::string& name, const std::vector<int64_t>& shape) const;
};

}  // namespace assay::data
