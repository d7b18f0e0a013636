// NumPy's .npy files (format versions 1 to 3), read as hostile input.
#pragma once

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <string>

namespace assay::data {

/// A two-dimensional array of little-endian floats, open for reading in row order.
class NpyFile {
 public:
  /// Errors: no such file, no .npy, another rank or type, Fortran order, a size that does not match
  /// the shape.
  explicit NpyFile(const std::filesystem::path& path);
  int64_t rows() const { return rows_; }
  int64_t d() const { return d_; }
  /// Bytes of an element: 2, 4 or 8.
  int element_bytes() const { return element_bytes_; }
  /// The next `rows` rows as fp32 into out [rows, d].
  void read(int64_t rows, float* out);

 private:
  void parse(const std::string& header);

  std::string where_;
  std::ifstream file_;
  int64_t rows_ = 0, d_ = 0;
  int element_bytes_ = 0;
};

}  // namespace assay::data
