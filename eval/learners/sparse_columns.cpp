#include "eval/learners/sparse_columns.h"

#include <algorithm>
#include <cmath>

#include "eval/learners/linear_solver.h"

namespace assay::eval {

Eigen::VectorXd PreparedColumns::column(int64_t j) const {
  Eigen::VectorXd z = Eigen::VectorXd::Constant(x.rows, -mean[j] * inverse_scale[j]);
  for (int64_t p = x.first[j]; p < x.first[j + 1]; ++p)
    z[x.row[p]] = (x.value[p] - mean[j]) * inverse_scale[j];
  return z;
}

Eigen::VectorXd PreparedColumns::transposed_times(const Eigen::VectorXd& v) const {
  const double total = v.sum();
  Eigen::VectorXd result(x.cols());
  for (int64_t j = 0; j < x.cols(); ++j) {
    const double from = offset(j);
    double sum = 0;
    for (int64_t p = x.first[j]; p < x.first[j + 1]; ++p) sum += (x.value[p] - from) * v[x.row[p]];
    result[j] = (sum - (mean[j] - from) * total) * inverse_scale[j];
  }
  return result;
}

Eigen::MatrixXd PreparedColumns::kernel() const {
  Eigen::MatrixXd k = Eigen::MatrixXd::Zero(x.rows, x.rows);
  for (int64_t j = 0; j < x.cols(); ++j) {
    const double weight = inverse_scale[j] * inverse_scale[j], from = offset(j);
    for (int64_t p = x.first[j]; p < x.first[j + 1]; ++p) {
      const double own = weight * (x.value[p] - from);
      double* column = k.col(x.row[p]).data();
      for (int64_t q = p; q < x.first[j + 1]; ++q) column[x.row[q]] += own * (x.value[q] - from);
    }
  }
  k.triangularView<Eigen::StrictlyUpper>() = k.transpose();
  // Centred columns are centred rows and columns of the kernel.
  const Eigen::VectorXd means = k.rowwise().mean();
  k.colwise() -= means;
  k.rowwise() -= means.transpose();
  k.array() += means.mean();
  return k;
}

PreparedColumns prepare(const SparseFeatures& features, bool standardise) {
  PreparedColumns result{by_column(features), Eigen::VectorXd::Zero(features.cols),
                         Eigen::VectorXd::Zero(features.cols)};
  const SparseColumns& x = result.x;
  const double n = static_cast<double>(x.rows);
  Eigen::VectorXd range(x.cols()), sd(x.cols());
  for (int64_t j = 0; j < x.cols(); ++j) {
    const bool zeros = x.first[j + 1] - x.first[j] < x.rows;
    double low = zeros ? 0 : x.value[x.first[j]], high = low, sum = 0, squares = 0;
    for (int64_t p = x.first[j]; p < x.first[j + 1]; ++p) {
      low = std::min<double>(low, x.value[p]);
      high = std::max<double>(high, x.value[p]);
      sum += x.value[p];
    }
    const double mean = sum / n;
    for (int64_t p = x.first[j]; p < x.first[j + 1]; ++p)
      squares += (x.value[p] - mean) * (x.value[p] - mean);
    squares += static_cast<double>(x.rows - (x.first[j + 1] - x.first[j])) * mean * mean;
    range[j] = high - low;
    result.mean[j] = mean;
    sd[j] = std::sqrt(squares / n);
  }
  const double floor = kConstant * sd.maxCoeff();
  for (int64_t j = 0; j < x.cols(); ++j)
    if (range[j] > 0 && sd[j] > floor) result.inverse_scale[j] = standardise ? 1 / sd[j] : 1;
  return result;
}

}  // namespace assay::eval
