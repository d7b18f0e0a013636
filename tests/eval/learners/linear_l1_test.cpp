// Logistic regression under the l1 penalty against a closed form and its own optimality conditions.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <utility>
#include <vector>

#include "eval/learners/linear_solver.h"
#include "kernels/base/random.h"

namespace assay::eval {
namespace {

constexpr int64_t kRows = 40;

/// One feature of ±1, whose sign is the label in 4 of 5 rows of either class. Its weight alone is
/// sought, by symmetry: the gradient C·n·(p(w) − 4/5) + 1 is 0 where p, the chance of agreement, is
/// 4/5 − 1/(C·n).
struct Agreeing {
  Agreeing() : x(kRows, 1) {
    for (int64_t i = 0; i < kRows; ++i) {
      y.push_back(static_cast<uint8_t>(i % 2));
      x(i, 0) = (i % 2 ? 1 : -1) * (i % 10 < 8 ? 1 : -1);
    }
  }
  static double expected(double c) {
    const double p = 0.8 - 1 / (c * kRows);
    return std::log(p / (1 - p));
  }
  RowMajor x;
  std::vector<uint8_t> y;
};

Solution fit(LogisticSolver& solver, double c, double w, double b) {
  return solver.fit(Eigen::VectorXd::Ones(kRows), c, 1e-9,
                    {Eigen::VectorXd::Constant(solver.columns(), w), b});
}

TEST(LinearL1, OneFeatureHasItsClosedForm) {
  const Agreeing data;
  const auto solver = make_l1_solver(data.x, data.y);
  for (const double c : {0.1, 0.5, 10.0})
    for (const double start : {0.0, 0.2, -1.0, 4.0}) {
      const Solution found = fit(*solver, c, start, 0);
      EXPECT_NEAR(found.w[0], Agreeing::expected(c), 1e-7) << c << " from " << start;
      EXPECT_NEAR(found.b, 0, 1e-7) << c << " from " << start;
    }
}

TEST(LinearL1, AFeatureThatIsWorthLessThanItsPenaltyIsLeftOut) {
  // At w = 0 the loss falls by C·n·(4/5 − 1/2) = 12·C a unit of weight; the penalty takes 1.
  const Agreeing data;
  const auto solver = make_l1_solver(data.x, data.y);
  EXPECT_EQ(fit(*solver, 0.99 / 12, 0.5, 0).w[0], 0);
  EXPECT_GT(fit(*solver, 1.01 / 12, 0, 0).w[0], 0);
}

TEST(LinearL1, AStartWhereTheLossIsFlatLeadsToTheSameEnd) {
  // There the curvature is next to nothing, and a whole Newton step lands far beyond the minimum.
  const Agreeing data;
  const auto solver = make_l1_solver(data.x, data.y);
  for (const double b : {-12.0, 12.0}) {
    const Solution found = fit(*solver, 1, 0, b);
    EXPECT_NEAR(found.w[0], Agreeing::expected(1), 1e-7);
    EXPECT_NEAR(found.b, 0, 1e-7);
  }
}

/// Largest violation of the optimality conditions: 0 in the subdifferential of ‖w‖₁ + C·loss.
double violation(const RowMajor& x, const std::vector<uint8_t>& y, double c, const Solution& at) {
  Eigen::VectorXd gradient = Eigen::VectorXd::Zero(x.cols());
  double intercept = 0;
  for (int64_t i = 0; i < x.rows(); ++i) {
    const double p = 1 / (1 + std::exp(-(x.row(i).dot(at.w) + at.b)));
    gradient += c * (p - y[static_cast<size_t>(i)]) * x.row(i).transpose();
    intercept += c * (p - y[static_cast<size_t>(i)]);
  }
  double worst = std::abs(intercept);
  for (int64_t j = 0; j < x.cols(); ++j) {
    const double w = at.w[j];
    worst = std::max(worst, w > 0   ? std::abs(gradient[j] + 1)
                            : w < 0 ? std::abs(gradient[j] - 1)
                                    : std::abs(gradient[j]) - 1);
  }
  return worst;
}

TEST(LinearL1, ItEndsWhereNoSubgradientIsLargerThanAsked) {
  Rng rng(3);
  RowMajor x(kRows, 60);
  std::vector<uint8_t> y;
  for (int64_t i = 0; i < kRows; ++i) {
    y.push_back(static_cast<uint8_t>(i % 3 == 0));
    for (int64_t j = 0; j < x.cols(); ++j) x(i, j) = rng.normal() + (j < 3 ? y.back() : 0);
  }
  const auto solver = make_l1_solver(x, y);
  for (const double c : {0.1, 1.0, 10.0}) {
    const Solution found = fit(*solver, c, 0, 0);
    EXPECT_LE(violation(x, y, c, found), 1.001e-9) << c;
    EXPECT_GT((found.w.array() == 0).count(), 0) << c;
  }
}

}  // namespace
}  // namespace assay::eval
