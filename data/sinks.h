// Sinks: the few rows of a language model whose norm is tens or hundreds of times that of all
// others (first tokens, separators). They hold nearly all of Σ‖x‖², so that scale, variance and FVU
// would speak of them alone.
//
// Definition: a row is a sink where its norm in any hook exceeds kSinkFactor × the median norm of
// the file's ordinary rows in that hook. Ordinary here: not special and not the zero vector; of an
// even number of rows the lower middle one is the median. Norms are of the values as stored, in
// double. So the marks depend on nothing but the file.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <vector>

#include "kernels/base/view.h"

namespace assay::data {

inline constexpr double kSinkFactor = 10;

/// One hook's part in a file's sinks.
struct HookSinks {
  double bound = 0;   ///< a larger norm makes a sink; 0: no ordinary rows, so none is
  double square = 0;  ///< Σ‖x‖² of the file's sinks
  double total = 0;   ///< Σ‖x‖² of all its rows
};

/// What is known of a file's sinks besides the marks themselves.
struct FileSinks {
  std::optional<int64_t> rows;  ///< sinks; none: not known
  uint32_t crc32c = 0;          ///< of the marks, one byte a row
};

struct Sinks {
  std::vector<uint8_t> marks;    ///< [rows]
  std::vector<HookSinks> hooks;  ///< in the order of the file's arrays
  FileSinks facts;
};

/// Takes all rows of a file, hook by hook, each in order.
class SinkFinder {
 public:
  explicit SinkFinder(size_t hooks) : squares_(hooks) {}
  void add(size_t hook, const float* row, int64_t d);
  /// `special` [rows], or empty. `given` [rows]: marks that stand in the file already and are kept;
  /// empty: they are found.
  Sinks find(std::span<const uint8_t> special, std::span<const uint8_t> given = {}) const;

 private:
  std::vector<std::vector<double>> squares_;  ///< [hooks][rows] squared norms
};

/// FOLDER/sinks.hdf5: /sink [all rows] of a data set whose files do not carry the marks.
std::filesystem::path sinks_path(const std::filesystem::path& folder);
void write_sinks(const std::filesystem::path& folder, const std::vector<uint8_t>& marks);

}  // namespace assay::data
