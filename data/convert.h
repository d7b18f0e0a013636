// Activations from .npy and .safetensors files into shards.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "kernels/dtype.h"

namespace assay::data {

struct ConvertOptions {
  std::filesystem::path folder;  ///< the new data set
  std::string tensor;            ///< of a .safetensors file; "" = its only two-dimensional float tensor
  std::optional<DType> dtype;    ///< stored type; as in the source by default (float64 becomes f32)
  int64_t rows_per_shard = 1 << 18;
};

/// Whether the file's name ends in .npy or .safetensors.
bool is_convertible(const std::filesystem::path& file);

/// Join two-dimensional float arrays [N, d] into one data set, in the order given; a row's document is its number.
/// Errors: a damaged file, another rank or element type, Fortran order, d that differs, a value that is not finite.
void convert_arrays(const std::vector<std::filesystem::path>& files, const ConvertOptions& options);

}  // namespace assay::data
