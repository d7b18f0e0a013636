// safetensors files (8-byte header length, JSON header, raw little-endian tensors), read as hostile
// input.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "data/tensor_file.h"

namespace assay::data {

/// A tensor to be written; the bytes stay the caller's.
struct TensorView {
  std::string dtype;
  std::vector<int64_t> shape;
  const void* data = nullptr;
  size_t bytes = 0;
};
TensorView view_of(const std::vector<float>& values, std::vector<int64_t> shape);
TensorView view_of(const std::vector<int64_t>& values);

/// Its header; the tensors are read when asked for. Throws Error naming the file and the fault:
/// header too long, offsets out of range, overlapping or with gaps, a size that does not match
/// dtype and shape.
TensorFile read_safetensors(const std::filesystem::path& file);
/// Written beside, fsynced, renamed. Tensors are laid out in name order: equal content gives equal
/// bytes. They are streamed, without a copy. Returns the SHA-256 of the file, summed on the way.
std::string write_safetensors(const std::map<std::string, TensorView>& tensors,
                              const std::filesystem::path& file);

}  // namespace assay::data
