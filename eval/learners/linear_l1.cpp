#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <utility>

#include "eval/learners/linear_solver.h"
#include "kernels/base/error.h"

namespace assay::eval {
namespace {

constexpr int kMaxOuter = 500, kMaxPasses = 1000;
constexpr std::size_t kMaxEntrants = 256;

double soft(double value, double threshold) {
  return value > threshold ? value - threshold : value < -threshold ? value + threshold : 0;
}

/// Columns in full, as the solver reads them.
struct FullColumns {
  Eigen::MatrixXd a;  // column-major: a coordinate is a column
  int64_t rows() const { return a.rows(); }
  int64_t cols() const { return a.cols(); }
  auto column(int64_t j) const { return a.col(j); }
  Eigen::VectorXd transposed_times(const Eigen::VectorXd& v) const { return a.transpose() * v; }
};

struct SparseView {
  const PreparedColumns& a;
  int64_t rows() const { return a.x.rows; }
  int64_t cols() const { return a.x.cols(); }
  Eigen::VectorXd column(int64_t j) const { return a.column(j); }
  Eigen::VectorXd transposed_times(const Eigen::VectorXd& v) const { return a.transposed_times(v); }
};

template <class Columns>
class L1Solver : public LogisticSolver {
 public:
  L1Solver(Columns a, Labels y) : a_(std::move(a)), y_(a_.rows()) {
    for (int64_t i = 0; i < y_.size(); ++i) y_[i] = y[static_cast<std::size_t>(i)];
  }

  int64_t columns() const override { return a_.cols(); }
  Eigen::VectorXd margins(const Solution& solution) const override {
    Eigen::VectorXd result = Eigen::VectorXd::Constant(a_.rows(), solution.b);
    for (int64_t j = 0; j < a_.cols(); ++j) {
      if (solution.w[j] != 0) result += solution.w[j] * a_.column(j);
    }
    return result;
  }
  Solution fit(const Eigen::VectorXd& s, double c, double enough, const Solution& start) override;

 private:
  struct State {
    const Eigen::VectorXd& s;
    double c;
    Solution at;
    Eigen::VectorXd margins, residual, curvature;  ///< residual = s(p − y), curvature = s·p(1 − p)
  };

  double loss(const State& state, const Eigen::VectorXd& margins) const;
  void linearise(State& state) const;
  static double violation(double w, double gradient) {
    return w == 0 ? std::max(0.0, std::abs(gradient) - 1) : std::abs(gradient + (w > 0 ? 1 : -1));
  }
  std::vector<int64_t> active_set(const State& state, double& worst) const;
  double newton_step(State& state, const std::vector<int64_t>& active, double enough) const;
  void move(State& state, const std::vector<int64_t>& active, const Eigen::MatrixXd& rows,
            const Eigen::VectorXd& gradient, const Eigen::VectorXd& d) const;

  Columns a_;
  Eigen::VectorXd y_;
};

template <class Columns>
double L1Solver<Columns>::loss(const State& state, const Eigen::VectorXd& margins) const {
  double sum = 0;
  for (int64_t i = 0; i < margins.size(); ++i) {
    if (state.s[i] == 0) continue;
    sum += state.s[i] * (std::log1p(std::exp(-std::abs(margins[i]))) + std::max(margins[i], 0.0) -
                         y_[i] * margins[i]);
  }
  return state.c * sum;
}

template <class Columns>
void L1Solver<Columns>::linearise(State& state) const {
  for (int64_t i = 0; i < state.margins.size(); ++i) {
    const double margin = state.margins[i], small = std::exp(-std::abs(margin));
    const double p = margin >= 0 ? 1 / (1 + small) : small / (1 + small);
    state.residual[i] = state.s[i] * (p - y_[i]);
    state.curvature[i] = state.s[i] * p * (1 - p);
  }
}

/// Columns in use and the worst offenders among the others; `worst` = the largest violation over
/// all coordinates.
template <class Columns>
std::vector<int64_t> L1Solver<Columns>::active_set(const State& state, double& worst) const {
  const Eigen::VectorXd gradient = state.c * a_.transposed_times(state.residual);
  worst = std::abs(state.c * state.residual.sum());
  std::vector<int64_t> active, entrants;
  for (int64_t j = 0; j < a_.cols(); ++j) {
    worst = std::max(worst, violation(state.at.w[j], gradient[j]));
    if (state.at.w[j] != 0) active.push_back(j);
    if (state.at.w[j] == 0 && std::abs(gradient[j]) > 1) entrants.push_back(j);
  }
  if (entrants.size() > kMaxEntrants) {
    std::stable_sort(entrants.begin(), entrants.end(), [&](int64_t i, int64_t j) {
      return std::abs(gradient[i]) > std::abs(gradient[j]);
    });
    entrants.resize(kMaxEntrants);
  }
  active.insert(active.end(), entrants.begin(), entrants.end());
  std::sort(active.begin(), active.end());
  return active;
}

/// Step d (active columns, intercept last) with backtracking on the objective itself.
template <class Columns>
void L1Solver<Columns>::move(State& state, const std::vector<int64_t>& active,
                             const Eigen::MatrixXd& rows, const Eigen::VectorXd& gradient,
                             const Eigen::VectorXd& d) const {
  const int64_t m = std::ssize(active);
  const Eigen::VectorXd change = rows * d;
  double norm = 0, next_norm = 0;
  for (int64_t j = 0; j < m; ++j) {
    const double w = state.at.w[active[static_cast<std::size_t>(j)]];
    norm += std::abs(w);
    next_norm += std::abs(w + d[j]);
  }
  const double value = norm + loss(state, state.margins),
               slope = gradient.dot(d) + next_norm - norm;
  double length = 1;
  while (length > 1e-10) {
    double penalty = 0;
    for (int64_t j = 0; j < m; ++j)
      penalty += std::abs(state.at.w[active[static_cast<std::size_t>(j)]] + length * d[j]);
    const double next = penalty + loss(state, state.margins + length * change);
    if (next <= value + 1e-4 * length * slope + 1e-13 * std::abs(value)) break;
    length *= .5;
  }
  for (int64_t j = 0; j < m; ++j) state.at.w[active[static_cast<std::size_t>(j)]] += length * d[j];
  state.at.b += length * d[m];
  state.margins += length * change;
}

/// One proximal Newton step on the active columns. Returns their largest violation before it; does
/// nothing where that is small enough.
template <class Columns>
double L1Solver<Columns>::newton_step(State& state, const std::vector<int64_t>& active,
                                      double enough) const {
  const int64_t m = std::ssize(active);
  Eigen::MatrixXd rows(a_.rows(), m + 1);
  for (int64_t j = 0; j < m; ++j) rows.col(j) = a_.column(active[static_cast<std::size_t>(j)]);
  rows.col(m).setOnes();
  const Eigen::VectorXd gradient = state.c * (rows.transpose() * state.residual);
  double worst = std::abs(gradient[m]);
  for (int64_t j = 0; j < m; ++j) {
    worst =
        std::max(worst, violation(state.at.w[active[static_cast<std::size_t>(j)]], gradient[j]));
  }
  if (worst <= enough) return worst;
  Eigen::MatrixXd hessian = Eigen::MatrixXd::Zero(m + 1, m + 1);
  const Eigen::MatrixXd weighted = (state.c * state.curvature).cwiseSqrt().asDiagonal() * rows;
  hessian.selfadjointView<Eigen::Lower>().rankUpdate(weighted.transpose());
  hessian.triangularView<Eigen::StrictlyUpper>() = hessian.transpose();
  hessian.diagonal().array() += 1e-12;
  Eigen::VectorXd d = Eigen::VectorXd::Zero(m + 1), v = gradient;  // v: the model's gradient at d
  for (int pass = 0; pass < kMaxPasses; ++pass) {
    double largest = 0;
    for (int64_t j = 0; j <= m; ++j) {
      const double h = hessian(j, j),
                   w = j < m ? state.at.w[active[static_cast<std::size_t>(j)]] : 0;
      const double here = w + d[j], next = j < m ? soft(here - v[j] / h, 1 / h) : here - v[j] / h;
      if (next == here) continue;
      d[j] += next - here;
      v += (next - here) * hessian.col(j);
      largest = std::max(largest, std::abs(next - here) * h);
    }
    if (largest <= std::max(.05 * worst, .1 * enough)) break;
  }
  move(state, active, rows, gradient, d);
  return worst;
}

template <class Columns>
Solution L1Solver<Columns>::fit(const Eigen::VectorXd& s, double c, double enough,
                                const Solution& start) {
  State state{s, c, start, margins(start), Eigen::VectorXd(a_.rows()), Eigen::VectorXd(a_.rows())};
  double worst = 0;
  for (int outer = 0; outer < kMaxOuter; ++outer) {
    linearise(state);
    const std::vector<int64_t> active = active_set(state, worst);
    if (worst <= enough) return state.at;
    for (int inner = 0; inner < kMaxOuter && newton_step(state, active, enough) > enough; ++inner)
      linearise(state);
  }
  throw Error(
      fmt::format("logistic regression (l1, C = {}): not converged after {} rounds: largest "
                  "violation {}, expected {}; "
                  "use a smaller C",
                  c, kMaxOuter, worst, enough));
}

}  // namespace

std::unique_ptr<LogisticSolver> make_l1_solver(const RowMajor& a, Labels y) {
  return std::make_unique<L1Solver<FullColumns>>(FullColumns{a}, y);
}

std::unique_ptr<LogisticSolver> make_l1_solver(const PreparedColumns& a, Labels y) {
  return std::make_unique<L1Solver<SparseView>>(SparseView{a}, y);
}

}  // namespace assay::eval
