// What one HDF5 file of activations holds and where its bytes lie, so that rows are read without
// the HDF5 library.
#pragma once

#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "data/dataset.h"
#include "data/sinks.h"
#include "data/statistics.h"

namespace assay::data {

/// Rows [first, first + rows) lie one after another from byte `address` of the file.
struct Extent {
  int64_t first = 0, rows = 0, address = 0;
};

/// One array of rows: /activations or /hooks/NAME.
struct ArrayLayout {
  std::string name;  ///< "activations" or NAME
  DType dtype = DType::f32;
  int64_t d = 0;
  /// Covers all rows in order; empty where rows can only be read through the library (filters,
  /// chunks that split rows, big-endian numbers, never-written chunks, more than 16,384 chunks).
  std::vector<Extent> extents;
  /// of each logical chunk's row bytes as stored; empty where the file has none
  std::vector<uint32_t> crc32c;
  Moments moments;  ///< count 0 where the file has none
  HookSinks sinks;  ///< of the array's rows; meaningless where the file's are not known

  int64_t row_bytes() const { return d * size_of(dtype); }
  /// The data set's path in the file.
  std::string dataset() const { return name == "activations" ? "/activations" : "/hooks/" + name; }
};

struct FileLayout {
  std::filesystem::path path;
  int64_t bytes = 0;  ///< size of the file
  int64_t rows = 0;
  /// rows of a logical chunk: what is checked, shuffled and read together
  int64_t chunk_rows = 0;
  std::vector<ArrayLayout> arrays;  ///< arrays[0] is "activations"
  /// of tokens, document, position, special, text, sink: those present
  std::vector<std::string> columns;
  FileSinks sinks;
  std::vector<LabelInfo> labels;
  /// texts: model, revision, hook, tokenizer_hash, source_hash, ...
  std::map<std::string, std::string> attributes;

  bool has_column(const std::string& name) const {
    return std::find(columns.begin(), columns.end(), name) != columns.end();
  }
  int64_t chunks() const { return (rows + chunk_rows - 1) / chunk_rows; }
};

/// The names of the integer columns.
const std::vector<std::string>& column_names();
/// The names of the text attributes.
const std::vector<std::string>& attribute_names();

/// Read the files' layouts, each in a child process (see run_isolated). Errors: no such file, not
/// HDF5, truncated, no /activations, rank other than 2, an element type that is none of ours,
/// columns of another length.
std::vector<FileLayout> read_layouts(const std::vector<std::filesystem::path>& files);

}  // namespace assay::data
