// Ridge regression against its closed form.
#include "eval/learners/ridge.h"

#include <gtest/gtest.h>

namespace assay::eval {
namespace {

/// scatter [2, 2] of a feature whose squares sum to a, another whose sum to b, and their product.
Eigen::MatrixXd scatter(double a, double b, double product) {
  Eigen::MatrixXd s(2, 2);
  s << a, product, product, b;
  return s;
}

TEST(Ridge, FeaturesOfAnySizeAreShrunkByThePenaltyAlone) {
  // Orthogonal features fall apart into w = xᵀy / (xᵀx + penalty).
  const Eigen::VectorXd xty = Eigen::Vector2d(0.06, 30);
  const RidgePath path(scatter(0.02, 40, 0));
  for (const double penalty : {1e-4, 0.02, 5.0}) {
    const Eigen::VectorXd w = path.solve(xty, penalty);
    EXPECT_NEAR(w[0], 0.06 / (0.02 + penalty), 1e-12) << penalty;
    EXPECT_NEAR(w[1], 30 / (40 + penalty), 1e-12) << penalty;
  }
}

TEST(Ridge, AFeatureMetTwiceIsShared) {
  // x and x again: both get xᵀy / (2·xᵀx + penalty), though the scatter has no inverse.
  const RidgePath path(scatter(0.3, 0.3, 0.3));
  const Eigen::VectorXd w = path.solve(Eigen::Vector2d(0.9, 0.9), 0.1);
  EXPECT_NEAR(w[0], 0.9 / 0.7, 1e-12);
  EXPECT_NEAR(w[1], 0.9 / 0.7, 1e-12);
}

}  // namespace
}  // namespace assay::eval
