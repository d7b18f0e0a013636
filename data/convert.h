// Activations from .npy and .safetensors files, and from Arrow caches as SAELens writes them, into
// shards.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "data/near_duplicates.h"
#include "kernels/base/dtype.h"

namespace assay::data {

struct ConvertOptions {
  std::filesystem::path folder;  ///< the new data set
  /// The tensor of a .safetensors file or the column of a cache; "" = the only one that holds
  /// activations.
  std::string tensor;
  /// of a cache with token_ids: rows of these tokens are special
  std::vector<int32_t> special_tokens;
  /// stored type; as in the source by default (float64 becomes f32)
  std::optional<DType> dtype;
  int64_t rows_per_shard = 1 << 18;
  /// read arrays [N, M, d] as N·M rows: a row's document is its sequence, its position the place
  /// there; without it they are an error that says so
  bool reshape = false;
};

/// Whether the file's name ends in .npy, .safetensors or .arrow, or it is a folder (a cache of
/// data-*.arrow).
bool is_convertible(const std::filesystem::path& file);

/// Join float arrays [N, d] (float64 becomes f32) into one data set, in the order given; a row's
/// document is its number. Of Arrow caches a row is a token: its document is its sequence, its
/// position the place there; token_ids are kept. Errors: a damaged file, another rank or element
/// type, Fortran order, d that differs, a value that is not finite. The same file twice, by
/// whatever path, or the same rows in two files are an Error. Returns how many documents nearly
/// repeat another, where there are documents. Called again after a kill, it continues after the
/// last whole shard; shards that came of other sources or options are an Error.
std::optional<NearDuplicates::Count> convert_arrays(const std::vector<std::filesystem::path>& files,
                                                    const ConvertOptions& options);

}  // namespace assay::data
