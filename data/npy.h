// NumPy's .npy files (format versions 1 to 3), read as hostile input.
#pragma once

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <functional>
#include <optional>
#include <string>
#include <vector>

namespace assay::data {

/// What the header of an array says, not judged yet. Texts are as they stand there, up to the
/// header's end; "" where the key is missing.
struct NpyHeader {
  std::string descr;                          ///< "'<f4', 'fortran_order': …"
  std::string fortran_order;                  ///< "False, …" or "True, …"
  std::optional<std::vector<int64_t>> shape;  ///< none where it is no tuple of sizes
  int64_t bytes = 0;                          ///< of the header; the elements follow
};
/// Reads it through `next`, which fills the next bytes and says whether there were so many. Throws
/// Error "WHERE: ..." where it is no .npy header of at most 64 KiB.
NpyHeader read_npy_header(const std::string& where,
                          const std::function<bool(char* into, size_t bytes)>& next);

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
  void judge(const NpyHeader& header);

  std::string where_;
  std::ifstream file_;
  std::vector<int64_t> shape_;
  int64_t rows_ = 0, d_ = 0;
  int element_bytes_ = 0;
};

}  // namespace assay::data
