#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "eval/learners/eigen_solvers.h"
#include "eval/learners/linear_solver.h"
#include "eval/learners/probes.h"
#include "kernels/base/error.h"

namespace assay::eval {
namespace {

/// Largest entry by size positive: an axis has no sign of its own. Ties go to the first.
void fix_sign(Eigen::Ref<Eigen::RowVectorXd> axis) {
  int64_t largest = 0;
  axis.cwiseAbs().maxCoeff(&largest);
  if (axis[largest] < 0) axis = -axis;
}

}  // namespace

Pca fit_pca(ConstMatrix x, int64_t k) {
  if (k < 1 || x.rows < 2 || x.cols < 1) {
    throw Error(
        fmt::format("PCA: {} components of {} rows of {} features, expected at least 1, 2 and 1", k,
                    x.rows, x.cols));
  }
  const Prepared rows = prepare(x, false);
  const bool primal = x.cols <= x.rows;
  const int64_t m = std::min(x.cols, x.rows);
  Eigen::MatrixXd product = Eigen::MatrixXd::Zero(m, m);
  if (primal) {
    product.selfadjointView<Eigen::Lower>().rankUpdate(rows.z.transpose());
  } else {
    product.selfadjointView<Eigen::Lower>().rankUpdate(rows.z);
  }
  const Eigen::SelfAdjointEigenSolver<Eigen::MatrixXd> eigen(product);
  if (eigen.info() != Eigen::Success) throw Error("PCA: the eigenvalues did not converge");
  Pca result;
  result.mean.assign(rows.mean.begin(), rows.mean.end());
  const double largest = eigen.eigenvalues()[m - 1];
  for (int64_t i = 0; i < std::min(k, m); ++i) {
    const double value = eigen.eigenvalues()[m - 1 - i];
    if (!(value > 1e-10 * largest)) break;
    Eigen::RowVectorXd axis;
    if (primal) {
      axis = eigen.eigenvectors().col(m - 1 - i).transpose();
    } else {
      axis =
          (rows.z.transpose() * eigen.eigenvectors().col(m - 1 - i)).transpose() / std::sqrt(value);
    }
    fix_sign(axis);
    result.components.insert(result.components.end(), axis.begin(), axis.end());
    result.variance.push_back(value / static_cast<double>(x.rows - 1));
  }
  if (result.variance.empty()) throw Error("PCA: all rows are the same, expected some variance");
  return result;
}

LinearProbe fit_pca_logistic(ConstMatrix x, Labels y, int64_t k, const LogisticOptions& options,
                             uint64_t seed) {
  check_training(x, y, "PCA + logistic regression");
  const Pca pca = fit_pca(x, k);
  const int64_t axes_count = std::ssize(pca.variance);
  const Eigen::Map<const RowMajor> axes(pca.components.data(), axes_count, x.cols);
  const Eigen::Map<const Eigen::VectorXd> mean(pca.mean.data(), x.cols);
  const Prepared rows = prepare(x, false);
  const Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor> coordinates =
      (rows.z * axes.transpose()).cast<float>();
  const LinearProbe inner =
      fit_logistic({coordinates.data(), x.rows, axes_count}, y, options, seed);
  const Eigen::Map<const Eigen::VectorXd> inner_weights(inner.weights.data(), axes_count);
  const Eigen::VectorXd w = axes.transpose() * inner_weights;
  LinearProbe probe = inner;
  probe.features = x.cols;
  probe.weights.assign(w.begin(), w.end());
  probe.bias = inner.bias - w.dot(mean);
  return probe;
}

}  // namespace assay::eval
