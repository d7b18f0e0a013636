// Arrow IPC files as Hugging Face's `datasets` and SAELens's activation caches hold them, read as
// hostile input.
//
// A column of activations is a list of lists of floats (Array2D: [context, d] a row), token_ids a
// list of integers. Format: Arrow columnar format 1.x, "Serialization and Interprocess
// Communication", stream or file; read here without a library, every offset checked.
#pragma once

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "kernels/base/dtype.h"

namespace assay::data {

/// The columns of one file.
struct ArrowColumn {
  std::string name;
  /// Arrow's type numbers from the column down to its innermost child
  std::vector<int> types;
  std::vector<int64_t> widths;  ///< of each: bits of a number, length of a fixed-size list, else 0
  bool is_signed = false;
};

class ArrowFile {
 public:
  /// `column`: "" = the only column of activations. Reads the metadata of every batch. Errors: no
  /// such file, not Arrow, damaged or truncated, compressed, big-endian, another type, missing
  /// values, rows of different shapes.
  ArrowFile(const std::filesystem::path& path, const std::string& column);

  const std::string& column() const { return columns_[activations_].name; }
  int64_t rows() const { return rows_; }        ///< tokens: sequences · context
  int64_t context() const { return context_; }  ///< tokens a sequence
  int64_t d() const { return d_; }
  /// float64 is read as f32
  DType dtype() const { return width_ == 16 ? DType::f16 : DType::f32; }
  bool has_tokens() const { return tokens_ < columns_.size(); }
  /// The next rows as fp32 into out [rows, d], and their token ids (empty without the column) into
  /// tokens.
  void read(int64_t rows, float* out, std::vector<int32_t>& tokens);

 private:
  struct Batch {
    /// where the body lies in the file; rows of the table
    int64_t body = 0, bytes = 0, sequences = 0;
    std::vector<std::pair<int64_t, int64_t>> nodes;    ///< length, missing values
    std::vector<std::pair<int64_t, int64_t>> buffers;  ///< offset, bytes within the body
  };
  struct Column;  // one column's nodes and buffers in a batch

  void scan();
  void check_end(int64_t at);
  void read_schema(const std::string& metadata);
  void choose(const std::string& column);
  Batch read_batch(const std::string& metadata, int64_t body, int64_t bytes) const;
  void load(const Batch& batch);
  Column locate(const Batch& batch, size_t column) const;
  int64_t numbers(const Column& at, size_t depth, int64_t first, int64_t count,
                  int64_t expected) const;
  int64_t whole(const Column& at, size_t buffer, int64_t index, int bytes) const;

  std::string where_;
  std::ifstream file_;
  int64_t size_ = 0;
  std::vector<ArrowColumn> columns_;
  size_t activations_ = 0, tokens_ = 0;
  std::vector<Batch> batches_;
  int64_t rows_ = 0, context_ = 0, d_ = 0;
  int64_t width_ = 0;
  // The batch being read.
  size_t next_batch_ = 0;
  std::string body_;
  const char* values_ = nullptr;  ///< of the batch's next row
  const char* token_values_ = nullptr;
  int64_t left_ = 0;  ///< rows
};

}  // namespace assay::data
