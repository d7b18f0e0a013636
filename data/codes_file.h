// Codes on disk: CSR in one HDF5 file, so that a few lines of h5py make a sparse matrix of it.
//
//   /row_offsets  int64   [B+1]  row i owns the pairs [row_offsets[i], row_offsets[i+1])
//   /indices      int32   [P]    latent of each pair, in [0, n)
//   /values       float32 [P]    activation of each pair, finite
//
// Root attributes: n (required when reading); assay_codes (format version 1), d, k, variant,
// dictionary_hash, source_hash (content hash of the activations) and hook, each left out by other
// programs at will.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "kernels/sparse_codes.h"

namespace assay::data {

struct CodesInfo {
  int64_t rows = 0, pairs = 0;
  int64_t n = 0, d = 0, k = 0;                              ///< d and k: 0 where unknown
  std::string variant, dictionary_hash, source_hash, hook;  ///< empty where unknown
};

/// Writes FILE.part, then FILE. Memory does not grow with the rows.
class CodesWriter {
 public:
  /// `info.rows` and `info.pairs` are the expected sizes, which choose the chunk size only; the
  /// rest becomes attributes.
  CodesWriter(const std::filesystem::path& file, const CodesInfo& info);
  /// Without finish(), the part file is removed.
  ~CodesWriter();
  /// Append rows. Throws Error naming the file where the disk is full.
  void append(const SparseCodes& codes);
  /// Close, fsync, rename.
  void finish();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

/// Reads codes as hostile input: the library works in child processes (data/untrusted.h), and
/// everything that comes out is checked.
class CodesReader {
 public:
  /// Throws Error naming the file and the fault: no such file, not HDF5, truncated, a data set or
  /// the attribute n missing, another rank or class of numbers, sizes that contradict each other, n
  /// outside [1, 2^31).
  static CodesReader open(const std::filesystem::path& file);
  const CodesInfo& info() const { return info_; }
  /// The next rows: at most `most_rows`, fewer where they hold more than `most_pairs` pairs (but at
  /// least one row); no rows at the end. Throws Error naming the row: row_offsets that do not rise
  /// from 0 to the number of pairs, a row of more than n pairs, an index outside [0, n), a value
  /// that is not finite.
  SparseCodes next(int64_t most_rows, int64_t most_pairs = 1 << 22);

 private:
  void check(const SparseCodes& codes) const;

  std::filesystem::path file_;
  CodesInfo info_;
  int64_t row_ = 0, pair_ = 0;  // where the next row starts
};

/// Whether a file is what `assay encode` wrote (an empty file passes: nothing is lost with it).
/// Anything else is not, damaged files included.
bool is_codes(const std::filesystem::path& file);

/// The names at the root of an HDF5 file of unknown kind. Errors: no such file, not HDF5,
/// truncated.
std::vector<std::string> root_names(const std::filesystem::path& file);

}  // namespace assay::data
