// A small data set with known contents, for the tests of shards, index and stream.
#pragma once

#include <cmath>
#include <filesystem>
#include <fstream>
#include <functional>
#include <string>
#include <vector>

#include "data/shard_writer.h"
#include "kernels/base/error.h"
#include "tests/support/files.h"

namespace assay::data::testing {

using support::bytes_of;
using support::TemporaryFolder;

/// Rows whose every column is a plain function of the row number.
struct Rows {
  int64_t rows, d;
  std::vector<float> x;
  std::vector<int32_t> tokens, position, label;
  std::vector<int64_t> document, text;
  std::vector<uint8_t> special;

  Rows(int64_t n, int64_t dims) : rows(n), d(dims), x(static_cast<size_t>(n * dims)) {
    for (size_t i = 0; i < x.size(); ++i) x[i] = std::sin(static_cast<float>(i) * 0.37f) + 0.25f;
    for (int64_t i = 0; i < n; ++i) {
      tokens.push_back(static_cast<int32_t>(1000 + i));
      position.push_back(static_cast<int32_t>(i % 10));
      label.push_back(static_cast<int32_t>(i % 3) - 1);
      document.push_back(i / 20);
      text.push_back(i / 10);
      special.push_back(i % 10 == 0);
    }
  }
  /// Rows [first, first + count).
  RowBlock block(int64_t first, int64_t count) const {
    const auto f = static_cast<size_t>(first), n = static_cast<size_t>(count);
    const auto cut = [&](const auto& column) { return std::span(column).subspan(f, n); };
    return {ConstMatrix(x.data() + first * d, count, d),
            cut(tokens),
            cut(document),
            cut(position),
            cut(special),
            cut(text),
            {cut(label)},
            {}};
  }
};

/// 1000 rows a shard, 64 rows a chunk.
inline ShardWriterOptions options_for(const std::filesystem::path& folder, int64_t d,
                                      DType dtype = DType::f16) {
  ShardWriterOptions options;
  options.folder = folder;
  options.d = d;
  options.dtype = dtype;
  options.rows_per_shard = 1000;
  options.chunk_bytes = 64 * d * size_of(dtype);
  options.labels = {{"kind", {"noun", "verb"}}};
  options.model = "a model";
  return options;
}

inline void write(const ShardWriterOptions& options, const Rows& rows) {
  ShardWriter writer(options);
  writer.append(rows.block(0, rows.rows));
  writer.finish();
}

inline void set_bytes(const std::filesystem::path& file, const std::string& bytes) {
  std::ofstream(file, std::ios::binary | std::ios::trunc) << bytes;
}

/// The message of the Error that `work` throws; "" where it throws none.
inline std::string error_of(const std::function<void()>& work) {
  try {
    work();
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

}  // namespace assay::data::testing
