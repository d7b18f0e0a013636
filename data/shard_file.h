// One shard being written: NAME.part, then NAME.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "data/hdf5.h"
#include "data/shard_writer.h"
#include "data/sinks.h"
#include "data/statistics.h"

namespace assay::data {

/// The rows of one array: converted, checked, summed, and written chunk by chunk.
class ArrayWriter {
 public:
  /// `file` must outlive the writer. A chunk has `chunk_rows` rows.
  ArrayWriter(HookInfo hook, int64_t chunk_rows, std::string where);
  /// Append one row. `counted`: the row enters the statistics. `row_number` names the row in
  /// errors. Returns the row as it is stored, valid until the next call.
  const float* append(hid_t file, const float* row, bool counted, int64_t row_number);
  /// What finish() says of the array's part in the shard's sinks.
  void set_sinks(const HookSinks& sinks) { sinks_ = sinks; }
  /// Statistics of these rows alone (counted[i] != 0), read back from the file.
  void count_again(hid_t file, const std::vector<uint8_t>& counted);
  /// Write what is left and the attributes (checksums, chunk_rows, mean, variance, scale,
  /// rows_counted, dtype, sinks).
  void finish(hid_t file);

  const HookInfo& hook() const { return hook_; }
  const std::vector<uint32_t>& checksums() const { return checksums_; }
  Moments moments() const { return sums_.moments(); }

 private:
  void flush(hid_t file);

  HookInfo hook_;
  std::string dataset_, where_;
  int64_t chunk_rows_, filled_ = 0, written_ = 0;
  std::vector<char> buffer_;
  std::vector<float> as_stored_;
  std::vector<uint32_t> checksums_;
  MomentSums sums_;
  std::optional<HookSinks> sinks_;
  hdf5::Handle handle_;
};

class ShardFile {
 public:
  ShardFile(const ShardWriterOptions& options, std::filesystem::path path);
  /// Without finish(), the part file is removed.
  ~ShardFile();
  ShardFile(const ShardFile&) = delete;
  ShardFile& operator=(const ShardFile&) = delete;

  int64_t rows() const { return rows_; }
  /// Append row `i` of the block; `row_number` is its number in the whole data set.
  void append(const RowBlock& block, int64_t i, int64_t row_number);
  /// Columns, attributes, close, fsync, rename.
  void finish();

 private:
  void mark_sinks();
  void write_columns();
  void write_attributes();

  const ShardWriterOptions& options_;
  std::filesystem::path path_, part_;
  int64_t rows_ = 0;
  bool finished_ = false;
  hdf5::Handle file_;
  std::vector<ArrayWriter> arrays_;
  std::vector<int32_t> tokens_, position_;
  std::vector<int64_t> document_, text_;
  std::vector<uint8_t> special_;
  SinkFinder sinks_;
  std::vector<std::vector<int32_t>> labels_;
};

/// Rows of a chunk under these options.
int64_t chunk_rows_of(const ShardWriterOptions& options);
/// Every option that decides what a shard holds, as JSON text: equal texts, equal shards.
std::string options_text(const ShardWriterOptions& options);

}  // namespace assay::data
