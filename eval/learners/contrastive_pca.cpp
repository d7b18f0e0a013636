#include "eval/learners/contrastive_pca.h"

#include <fmt/format.h>

#include "eval/learners/eigen_solvers.h"
#include "eval/learners/linear_solver.h"
#include "kernels/base/error.h"

namespace assay::eval {

Eraser fit_contrastive_pca(ConstMatrix x, Labels y, double alpha, int64_t rank) {
  check_training(x, y, "contrastive PCA");
  if (rank < 1 || rank > x.cols)
    throw Error(fmt::format("contrastive PCA: rank {}, expected 1 to {} features", rank, x.cols));
  if (!(alpha >= 0))
    throw Error(fmt::format("contrastive PCA: alpha {}, expected at least 0", alpha));
  double count[2] = {};
  Eigen::VectorXd centre = Eigen::VectorXd::Zero(x.cols);
  for (int64_t i = 0; i < x.rows; ++i) {
    count[y[i]] += 1;
    if (y[i] == 0) centre += Eigen::Map<const Eigen::VectorXf>(x.row(i), x.cols).cast<double>();
  }
  centre /= count[0];
  RowMajor rows(x.rows, x.cols);
  Eigen::VectorXd weight(x.rows);
  for (int64_t i = 0; i < x.rows; ++i) {
    rows.row(i) = Eigen::Map<const Eigen::VectorXf>(x.row(i), x.cols).cast<double>() - centre;
    weight[i] = y[i] ? 1 / count[1] : -alpha / count[0];
  }
  const Eigen::MatrixXd contrast = rows.transpose() * weight.asDiagonal() * rows;
  const Eigen::SelfAdjointEigenSolver<Eigen::MatrixXd> eigen(contrast);
  if (eigen.info() != Eigen::Success)
    throw Error("contrastive PCA: the eigenvalues did not converge");
  Eraser eraser;
  eraser.centre.assign(centre.begin(), centre.end());
  for (int64_t r = 0; r < rank; ++r) {
    const int64_t column = x.cols - 1 - r;
    if (!(eigen.eigenvalues()[column] > 0)) break;
    const Eigen::VectorXd direction = eigen.eigenvectors().col(column);
    eraser.left.insert(eraser.left.end(), direction.begin(), direction.end());
  }
  eraser.right = eraser.left;
  return eraser;
}

}  // namespace assay::eval
