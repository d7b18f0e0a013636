// Ridge regression of many targets, with many penalties, on the same rows: the eigenvectors of XᵀX
// serve all of them.
#pragma once

#include <Eigen/Core>

namespace assay::eval {

class RidgePath {
 public:
  /// scatter [d, d]: XᵀX of centred rows, symmetric.
  explicit RidgePath(const Eigen::MatrixXd& scatter);
  /// argmin_w ‖y − Xw‖² + penalty·‖w‖², penalty > 0, from xty [d] = Xᵀy.
  Eigen::VectorXd solve(const Eigen::VectorXd& xty, double penalty) const;

 private:
  Eigen::MatrixXd axes_;
  Eigen::VectorXd values_;
};

}  // namespace assay::eval
