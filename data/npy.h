// NumPy's .npy files (format versions 1 to 3), read as hostile input.
#pragma once

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

namespace assay::data {

/// An array of little-endian floats, [rows, d] or [N, M, d], open for reading in row order.
class NpyFile {
 public:
  /// Errors: no such file, no .npy, another rank or type, Fortran order, a size that does not match
  /// the shape.
  explicit NpyFile(const std::filesystem::path& path);
  const std::vector<int64_t>& shape() const { return shape_; }
  int64_t rows() const { return rows_; }  ///< of d elements: N·M of three dimensions
  int64_t d() const { return d_; }
  /// Bytes of an element: 2, 4 or 8.
  int element_bytes() const { return element_bytes_; }
  /// The next `rows` rows as fp32 into out [rows, d].
  void read(int64_t rows, float* out);

 private:
  void parse(const std::string& header);

  std::string where_;
  std::ifstream file_;
  std::vector<int64_t> shape_;
  int64_t rows_ = 0, d_ = 0;
  int element_bytes_ = 0;
};

}  // namespace assay::data
