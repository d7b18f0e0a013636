// A data set on disk: a folder of HDF5 shards and its index.yaml (or one HDF5 file with
// /activations), open for reading.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "kernels/base/dtype.h"
#include "kernels/base/view.h"

namespace assay::data {

/// What the index says of one hook's activations. `mean`, `variance` and `scale` leave special
/// tokens and sinks (data/sinks.h) out. A single file that carries no statistics has an empty mean
/// (`assay index` computes them).
struct HookInfo {
  std::string name;          ///< "activations" for the main data set, else the NAME of /hooks/NAME
  int64_t d = 0;             ///< dimensions
  DType dtype = DType::f32;  ///< as stored
  std::vector<float> mean;   ///< [d], unscaled
  double variance = 0;       ///< E‖x − mean‖², unscaled
  double scale = 1;          ///< s with E‖s·x‖² = 1
};

/// Row-aligned label: one int32 a row, −1 = none, and the classes' names.
struct LabelInfo {
  std::string name;
  std::vector<std::string> classes;
};

struct DatasetInfo {
  std::filesystem::path path;
  int64_t rows = 0;
  std::vector<HookInfo> hooks;  ///< hooks[0] is "activations"
  std::vector<LabelInfo> labels;
  /// attributes; empty where unknown
  std::string model, revision, hook, tokenizer_hash, source_hash;
  /// hex; over all chunk checksums: changes when any byte of the activations changes; "" if there
  /// are none
  std::string content_hash;
  bool has_tokens = false, has_document = false, has_position = false, has_special = false,
       has_text = false;
};

/// What is known of a data set's sinks (data/sinks.h).
struct SinkInfo {
  std::optional<int64_t> rows;  ///< none if nobody has looked for them
  std::vector<double> share;    ///< [hooks] of Σ‖x‖² over all rows, what the sinks hold
  std::vector<double> bound;  ///< [hooks] norm beyond which a row is one; the largest of the files'
};

/// Sinks are treated as special rows are (`leave_out`), or as any other row.
enum class SinkRows { leave_out, keep };

/// Rows that are checked, shuffled and read together: [first, first + rows) in global row
/// numbering, within one file. In our shards an HDF5 chunk; in foreign files about 8 MB of whole
/// rows.
struct ChunkInfo {
  int64_t first = 0;
  int64_t rows = 0;
  int32_t file = 0;
};

/// A chunk whose bytes are not those that were written.
struct CorruptChunk {
  int64_t chunk = 0;
  std::string what;  ///< file, chunk, array, rows
};

/// Where a row lies, for error messages.
struct RowOrigin {
  std::string file;
  int64_t row = 0;  ///< within the file
};

/// Thread-safe for reading. Every read of activations verifies the chunk's CRC32C where the index
/// has one.
class Dataset {
 public:
  /// `path`: a folder with index.yaml, or one HDF5 file. Throws Error naming the file and what is
  /// wrong.
  static Dataset open(const std::filesystem::path& path, SinkRows sinks);
  static Dataset open(const std::filesystem::path& path) { return open(path, SinkRows::leave_out); }
  Dataset(Dataset&&) noexcept;
  Dataset& operator=(Dataset&&) noexcept;
  ~Dataset();

  const DatasetInfo& info() const;
  const SinkInfo& sinks() const;
  /// The hook's entry; throws UsageError naming the known hooks.
  const HookInfo& hook(const std::string& name) const;
  const LabelInfo& label(const std::string& name) const;
  const std::vector<ChunkInfo>& chunks() const;

  /// Rows [first, first + out.rows) of `hook` as unscaled fp32 into out [rows, d].
  void read(const std::string& hook, int64_t first, Matrix out) const;
  /// One whole chunk as unscaled fp32 into out [chunk.rows, d].
  void read_chunk(const std::string& hook, int64_t chunk, Matrix out) const;

  /// The chunk's bytes as stored (hook's dtype), checksum verified, into out [chunk.rows · d ·
  /// size_of(dtype)].
  void read_chunk_raw(const std::string& hook, int64_t chunk, void* out) const;
  /// Reads every chunk of the hooks on `threads` threads and names those whose CRC32C is wrong, in
  /// order, each once. Throws Error where the data set has no checksums.
  std::vector<CorruptChunk> corrupt_chunks(const std::vector<std::string>& hooks,
                                           int threads) const;
  /// Where a row lies.
  RowOrigin row_place(int64_t row) const;

  // Row-aligned columns, [rows] each, read once and kept. Throw Error where the data set lacks the
  // column, except special (all zero) and document (the row number) which have natural values.
  const std::vector<int32_t>& tokens() const;
  const std::vector<int64_t>& document() const;
  const std::vector<int32_t>& position() const;
  const std::vector<uint8_t>& special() const;
  /// 1 for sinks; all 0 where none are known, or the data set was opened with SinkRows::keep.
  const std::vector<uint8_t>& sink() const;
  /// 1 for rows that are special or a sink: what statistics, pooling and edits leave out.
  const std::vector<uint8_t>& left_out() const;
  /// text number of each row: texts are runs of equal numbers
  const std::vector<int64_t>& text() const;
  const std::vector<int32_t>& label_values(const std::string& name) const;

 private:
  struct State;
  explicit Dataset(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

/// The source texts of a data set, texts.h5 beside the shards: UTF-8 bytes by text number. Used for
/// bag-of-words baselines and examples in reports. nullopt where the data set has none.
std::optional<std::vector<std::string>> read_texts(const std::filesystem::path& dataset);

}  // namespace assay::data
