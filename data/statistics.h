// Mean and spread of activations in double precision, with the same bits however the rows are cut
// into blocks.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "kernels/base/view.h"

namespace assay::data {

/// Moments of a set of rows: combined over shards in their order.
struct Moments {
  int64_t count = 0;         ///< rows (special tokens left out)
  std::vector<double> mean;  ///< [d]
  double variance = 0;       ///< E‖x − mean‖²; 0 without rows

  /// s with E‖s·x‖² = 1; 1 where all rows are zero or there are none.
  double scale() const;
  /// The moments of both sets together (Chan, Golub and LeVeque 1983, equation 2.1).
  void merge(const Moments& other);
};

/// Sums rows one after another.
class MomentSums {
 public:
  explicit MomentSums(int64_t d)
      : sum_(static_cast<size_t>(d), 0.0), squares_(static_cast<size_t>(d), 0.0) {}
  void add(const float* row);
  Moments moments() const;

 private:
  int64_t count_ = 0;
  std::vector<double> sum_, squares_;
};

}  // namespace assay::data
