// Decoded activations on disk: one shard that stands alone.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>

#include "kernels/base/view.h"

namespace assay::data {

/// Writes one HDF5 file with /activations [N, d] fp32 and its checksums and statistics. FILE.part,
/// then FILE.
class ActivationsWriter {
 public:
  /// `hook` and `source_hash` become attributes. `file` is expected to get `rows` rows (they bound
  /// the buffer).
  ActivationsWriter(const std::filesystem::path& file, int64_t rows, int64_t d,
                    const std::string& hook, const std::string& source_hash);
  /// Without finish(), the part file is removed.
  ~ActivationsWriter();
  /// Append x [rows, d]. Throws Error naming the row where a value is not finite, and where the
  /// disk is full.
  void append(ConstMatrix x);
  void finish();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

/// Whether a file is what `assay decode` wrote (an empty file passes: nothing is lost with it).
/// Anything else is not, damaged files included.
bool is_decoded(const std::filesystem::path& file);

}  // namespace assay::data
