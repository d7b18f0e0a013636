// Writes a data set: shards of bounded size, row-aligned columns, and the index with checksums and
// statistics.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "data/dataset.h"

namespace assay::data {

struct ShardWriterOptions {
  std::filesystem::path folder;  ///< created; must not already hold a finished data set
  int64_t d = 0;
  DType dtype = DType::f16;
  int64_t rows_per_shard = 1 << 18;
  /// A chunk is this many bytes of whole rows (at least one row), and at most 1 MiB where a row
  /// takes over 2 KiB: else it would hold one or two texts, and shuffling mixes chunks.
  int64_t chunk_bytes = 8 << 20;
  bool tokens = true, document = true, position = true, special = true, text = true;
  bool sinks = true;  ///< find the rows that are sinks (data/sinks.h) and mark them in /sink
  std::vector<LabelInfo> labels;
  std::vector<HookInfo> extra_hooks;  ///< name, d and dtype of each /hooks/NAME
  /// > 0: a rolling cache (data/rolling.h) of at most this many bytes; append() waits for the
  /// trainer to make room.
  int64_t disk_limit = 0;
  // Attributes of every shard.
  std::string model, revision, hook, tokenizer_hash, source_hash, chat_template, made_by;
  int64_t context_length = 0;
  bool prepend_bos = false;
};

/// Rows to append. Every enabled column has x.rows entries.
struct RowBlock {
  ConstMatrix x;  ///< [rows, d] unscaled
  std::span<const int32_t> tokens;
  std::span<const int64_t> document;
  std::span<const int32_t> position;
  std::span<const uint8_t> special;
  std::span<const int64_t> text;
  std::vector<std::span<const int32_t>> labels;  ///< in the order of options.labels
  std::vector<ConstMatrix> hooks;                ///< in the order of options.extra_hooks
};

/// A shard is written beside its name (NAME.part), fsynced and renamed when full; the index appears
/// last, by finish(). A killed writer leaves whole shards only: `resume_rows` says how many rows
/// they hold.
class ShardWriter {
 public:
  /// Resumes after the whole shards found in the folder (same options, or Error naming what
  /// differs).
  explicit ShardWriter(ShardWriterOptions options);
  ~ShardWriter();
  /// Rows already safe on disk from an earlier, killed writer: the caller continues with this row.
  int64_t resume_rows() const;
  /// Throws Error on a value that is not finite after the cast to dtype (naming the row), and on a
  /// full disk.
  void append(const RowBlock& block);
  /// Close the last shard, compute mean, variance and scale, write index.yaml.
  void finish();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace assay::data
