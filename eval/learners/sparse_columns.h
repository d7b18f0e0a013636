// Inside of the probes on sparse features: the same entries by column. Not for tasks; see
// eval/learners/sparse.h.
#pragma once

#include <Eigen/Core>
#include <cstdint>
#include <vector>

#include "eval/learners/sparse.h"

namespace assay::eval {

/// Column j owns the entries [first[j], first[j+1]), rows ascending.
struct SparseColumns {
  int64_t rows = 0;
  std::vector<int64_t> first{0};  ///< [cols + 1]
  std::vector<int32_t> row;
  std::vector<float> value;

  int64_t cols() const { return std::ssize(first) - 1; }
  /// Has every row an entry of column j? Only such a column can be nearly constant and yet far
  /// from 0: what sums over it subtracts the mean first, or loses it in the digits.
  bool full(int64_t j) const { return first[j + 1] - first[j] == rows; }
};
SparseColumns by_column(const SparseFeatures& x);

/// Centred (and scaled) columns as eval/learners/linear_solver.h has them: z = (x − mean) ·
/// inverse_scale, kept as x.
struct PreparedColumns {
  SparseColumns x;
  Eigen::VectorXd mean, inverse_scale;

  /// What is to be subtracted from the entries of column j before they are summed.
  double offset(int64_t j) const { return x.full(j) ? mean[j] : 0; }
  /// Column j of z.
  Eigen::VectorXd column(int64_t j) const;
  /// Zᵀ · v.
  Eigen::VectorXd transposed_times(const Eigen::VectorXd& v) const;
  /// Z · Zᵀ.
  Eigen::MatrixXd kernel() const;
};
PreparedColumns prepare(const SparseFeatures& x, bool standardise);

/// Throws as check_training does of the matrix in full.
void check_training(const SparseFeatures& x, Labels y, const char* probe);

}  // namespace assay::eval
