// Rows and integer columns of files from strangers, read in child processes (data/untrusted.h), and
// what is asked of their values.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "data/layout.h"

namespace assay::data {

/// Read rows [first, first + rows) of an array through the library, in a child process, as stored
/// bytes.
std::string read_rows_isolated(const FileLayout& file, const ArrayLayout& array, int64_t first,
                               int64_t rows);

/// Read an integer column or "/labels/NAME" of every file, one after another, in a child process.
/// Error naming file, row and value where one is beyond the column's type (docs/data-format.md).
std::vector<int64_t> read_column_isolated(const std::vector<FileLayout>& files,
                                          const std::string& dataset);

[[noreturn]] void fail_label(const LabelInfo& label, size_t row, int64_t value,
                             const std::string& where);

/// Throws Error naming the row where a value is neither −1 nor one of the label's classes (any from
/// −1 on if it has none).
template <class T>
void check_label_values(const LabelInfo& label, const std::vector<T>& values,
                        const std::string& where) {
  const auto classes = static_cast<int64_t>(label.classes.size());
  for (size_t row = 0; row < values.size(); ++row) {
    const int64_t value = values[row];
    if (value < -1 || (classes > 0 && value >= classes)) fail_label(label, row, value, where);
  }
}

}  // namespace assay::data
