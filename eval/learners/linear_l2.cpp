#include <fmt/format.h>

#include <cmath>
#include <deque>
#include <utility>

#include "eval/learners/eigen_solvers.h"
#include "eval/learners/linear_solver.h"
#include "kernels/base/error.h"

namespace assay::eval {
namespace {

constexpr int kMaxIterations = 1000;
constexpr std::size_t kMemory = 12;

/// The smooth objective over t = (w, b), b last.
class Objective {
 public:
  Objective(const RowMajor& a, const Eigen::VectorXd& y, const Eigen::VectorXd& s, double c)
      : a_(a), y_(y), s_(s), c_(c), residual_(a.rows()) {}

  double operator()(const Eigen::VectorXd& t, Eigen::VectorXd& gradient) {
    const int64_t m = a_.cols();
    residual_.noalias() = a_ * t.head(m);
    double loss = 0, residual_sum = 0;
    for (int64_t i = 0; i < residual_.size(); ++i) {
      if (s_[i] == 0) {
        residual_[i] = 0;
        continue;
      }
      const double margin = residual_[i] + t[m], small = std::exp(-std::abs(margin));
      const double p = margin >= 0 ? 1 / (1 + small) : small / (1 + small);
      loss += s_[i] * (std::log1p(small) + std::max(margin, 0.0) - y_[i] * margin);
      residual_[i] = s_[i] * (p - y_[i]);
      residual_sum += residual_[i];
    }
    gradient.resize(m + 1);
    gradient.head(m).noalias() = c_ * (a_.transpose() * residual_);
    gradient.head(m) += t.head(m);
    gradient[m] = c_ * residual_sum;
    return .5 * t.head(m).squaredNorm() + c_ * loss;
  }

 private:
  const RowMajor& a_;
  const Eigen::VectorXd &y_, &s_;
  double c_;
  Eigen::VectorXd residual_;
};

class L2Solver : public LogisticSolver {
 public:
  L2Solver(RowMajor a, Labels y) : a_(std::move(a)), y_(a_.rows()), gram_(a_.cols(), a_.cols()) {
    for (int64_t i = 0; i < y_.size(); ++i) y_[i] = y[static_cast<std::size_t>(i)];
    gram_.setZero();
    gram_.selfadjointView<Eigen::Lower>().rankUpdate(a_.transpose());
  }

  int64_t columns() const override { return a_.cols(); }
  Eigen::VectorXd margins(const Solution& solution) const override {
    return (a_ * solution.w).array() + solution.b;
  }
  Solution fit(const Eigen::VectorXd& s, double c, double enough, const Solution& start) override;

 private:
  struct Pair {
    Eigen::VectorXd step, change;
    double inverse_curvature;
  };

  void factor(double c) {
    if (c == factored_c_) return;
    Eigen::MatrixXd bound = (c / 4) * gram_;
    bound.diagonal().array() += 1;
    factor_.compute(bound);
    factored_c_ = c;
  }
  /// The bound's inverse on the gradient; the intercept's part of the bound is c/4 · n, rows being
  /// centred.
  Eigen::VectorXd precondition(const Eigen::VectorXd& v) const {
    const int64_t m = a_.cols();
    Eigen::VectorXd result(m + 1);
    result.head(m) = factor_.solve(v.head(m));
    result[m] = v[m] / (factored_c_ / 4 * static_cast<double>(a_.rows()));
    return result;
  }
  Eigen::VectorXd direction(const std::deque<Pair>& pairs, const Eigen::VectorXd& gradient) const;

  RowMajor a_;
  Eigen::VectorXd y_;
  Eigen::MatrixXd gram_;
  Eigen::LLT<Eigen::MatrixXd> factor_;
  double factored_c_ = 0;
};

/// L-BFGS's two loops (Nocedal and Wright, algorithm 7.4).
Eigen::VectorXd L2Solver::direction(const std::deque<Pair>& pairs,
                                    const Eigen::VectorXd& gradient) const {
  Eigen::VectorXd v = -gradient;
  std::vector<double> alpha(pairs.size());
  for (std::size_t i = pairs.size(); i-- > 0;) {
    alpha[i] = pairs[i].inverse_curvature * pairs[i].step.dot(v);
    v -= alpha[i] * pairs[i].change;
  }
  v = precondition(v);
  if (!pairs.empty()) {
    const Pair& last = pairs.back();
    v /= last.inverse_curvature * last.change.dot(precondition(last.change));
  }
  for (std::size_t i = 0; i < pairs.size(); ++i) {
    v += (alpha[i] - pairs[i].inverse_curvature * pairs[i].change.dot(v)) * pairs[i].step;
  }
  return v;
}

/// Armijo's rule; or, where the decrease drowns in the value's own rounding, the same rule on the
/// slopes (Hager and Zhang 2005, approximate Wolfe).
bool accepted(double value, double next_value, double slope, double next_slope) {
  return next_value <= value + 1e-4 * slope ||
         (next_value <= value + 1e-9 * std::abs(value) && next_slope <= -.8 * slope);
}

Solution L2Solver::fit(const Eigen::VectorXd& s, double c, double enough, const Solution& start) {
  factor(c);
  const int64_t m = a_.cols();
  Objective objective(a_, y_, s, c);
  Eigen::VectorXd t(m + 1), gradient, next_gradient;
  t << start.w, start.b;
  double value = objective(t, gradient);
  std::deque<Pair> pairs;
  for (int iteration = 0; iteration < kMaxIterations; ++iteration) {
    if (gradient.lpNorm<Eigen::Infinity>() <= enough) return {t.head(m), t[m]};
    const Eigen::VectorXd step = direction(pairs, gradient);
    const double slope = step.dot(gradient);
    double length = 1;
    Eigen::VectorXd next = t + step;
    double next_value = objective(next, next_gradient);
    while (!accepted(value, next_value, length * slope, length * next_gradient.dot(step)) &&
           length > 1e-10) {
      length *= .5;
      next = t + length * step;
      next_value = objective(next, next_gradient);
    }
    Pair pair{next - t, next_gradient - gradient, 0};
    const double curvature = pair.step.dot(pair.change);
    if (curvature > 0) {
      pair.inverse_curvature = 1 / curvature;
      pairs.push_back(std::move(pair));
      if (pairs.size() > kMemory) pairs.pop_front();
    }
    t = next;
    value = next_value;
    gradient.swap(next_gradient);
  }
  throw Error(
      fmt::format("logistic regression (l2, C = {}): not converged after {} iterations: largest "
                  "gradient entry {}, "
                  "expected {}; use a smaller C",
                  c, kMaxIterations, gradient.lpNorm<Eigen::Infinity>(), enough));
}

}  // namespace

std::unique_ptr<LogisticSolver> make_l2_solver(RowMajor a, Labels y) {
  return std::make_unique<L2Solver>(std::move(a), y);
}

KernelFactor factor_kernel(const Eigen::MatrixXd& k) {
  const int64_t n = k.rows();
  Eigen::VectorXd left = k.diagonal();
  RowMajor l = RowMajor::Zero(n, n);
  const double enough = 1e-12 * std::max(left.maxCoeff(), 0.0);
  KernelFactor result;
  for (int64_t r = 0; r < n; ++r) {
    int64_t pivot = 0;
    const double largest = left.maxCoeff(&pivot);
    if (!(largest > enough)) break;
    const double root = std::sqrt(largest);
    const Eigen::VectorXd row = l.row(pivot).head(r);
    for (int64_t i = 0; i < n; ++i) {
      // Earlier pivots have nothing left, exactly, and stay a triangle.
      if (left[i] <= 0) continue;
      const double entry =
          i == pivot
              ? root
              : (k(std::max(i, pivot), std::min(i, pivot)) - l.row(i).head(r).dot(row)) / root;
      l(i, r) = entry;
      left[i] = std::max(0.0, left[i] - entry * entry);
    }
    left[pivot] = 0;
    result.pivots.push_back(pivot);
  }
  result.l = l.leftCols(std::ssize(result.pivots));
  return result;
}

Eigen::VectorXd KernelFactor::dual(const Eigen::VectorXd& u) const {
  RowMajor triangle(l.cols(), l.cols());
  for (int64_t r = 0; r < l.cols(); ++r)
    triangle.row(r) = l.row(pivots[static_cast<std::size_t>(r)]);
  const Eigen::VectorXd solved = triangle.triangularView<Eigen::Lower>().transpose().solve(u);
  Eigen::VectorXd a = Eigen::VectorXd::Zero(l.rows());
  for (int64_t r = 0; r < l.cols(); ++r) a[pivots[static_cast<std::size_t>(r)]] = solved[r];
  return a;
}

}  // namespace assay::eval
