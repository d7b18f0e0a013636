#include "eval/learners/ridge.h"

#include "eval/learners/eigen_solvers.h"

namespace assay::eval {

RidgePath::RidgePath(const Eigen::MatrixXd& scatter) {
  const Eigen::SelfAdjointEigenSolver<Eigen::MatrixXd> eigen(scatter);
  axes_ = eigen.eigenvectors();
  values_ = eigen.eigenvalues().cwiseMax(0);
}

Eigen::VectorXd RidgePath::solve(const Eigen::VectorXd& xty, double penalty) const {
  const Eigen::VectorXd along = axes_.transpose() * xty;
  return axes_ * (along.array() / (values_.array() + penalty)).matrix();
}

}  // namespace assay::eval
