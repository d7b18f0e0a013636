// Texts' mean rows, as their rows come by.
#pragma once

#include <cstdint>
#include <vector>

namespace assay::eval {

/// One text after another; sums in double.
class RowMean {
 public:
  /// A row [d] of the text.
  void add(const float* row, int64_t d) {
    sum_.resize(static_cast<size_t>(d));
    for (int64_t c = 0; c < d; ++c) sum_[c] += row[c];
    ++rows_;
  }
  /// Appends the mean [d] of the rows since the last call; nothing where there were none.
  void finish(std::vector<float>& out) {
    if (rows_ == 0) return;
    for (double& value : sum_) {
      out.push_back(static_cast<float>(value / static_cast<double>(rows_)));
      value = 0;
    }
    rows_ = 0;
  }

 private:
  std::vector<double> sum_;
  int64_t rows_ = 0;
};

}  // namespace assay::eval
