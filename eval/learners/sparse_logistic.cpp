#include "eval/learners/linear_solver.h"
#include "eval/learners/sparse.h"
#include "eval/learners/sparse_columns.h"

namespace assay::eval {
namespace {

/// An l2 problem in at most `rows` coordinates.
struct InKernel {
  PreparedColumns rows;
  KernelFactor factor;

  InKernel(const SparseFeatures& x, bool standardise)
      : rows(prepare(x, standardise)), factor(factor_kernel(rows.kernel())) {}
  Eigen::VectorXd weights(const Eigen::VectorXd& u) const {
    return rows.transposed_times(factor.dual(u));
  }
};

/// In the features' own units.
LinearProbe unfolded(const Eigen::VectorXd& weights, double b, const Eigen::VectorXd& mean,
                     const Eigen::VectorXd& inverse_scale) {
  LinearProbe probe;
  probe.features = weights.size();
  const Eigen::VectorXd w = weights.cwiseProduct(inverse_scale);
  probe.weights.assign(w.begin(), w.end());
  probe.bias = b - w.dot(mean);
  return probe;
}

std::vector<float> in_full(const SparseFeatures& x) {
  std::vector<float> out(static_cast<std::size_t>(x.rows() * x.cols));
  for (int64_t i = 0; i < x.rows(); ++i)
    for (int64_t p = x.codes.row_offsets[i]; p < x.codes.row_offsets[i + 1]; ++p)
      out[i * x.cols + x.codes.indices[p]] = x.codes.values[p];
  return out;
}

std::vector<Solution> path(LogisticSolver& solver, const std::vector<double>& grid, int64_t rows) {
  const Eigen::VectorXd s = Eigen::VectorXd::Ones(rows);
  std::vector<Solution> result;
  Solution at{Eigen::VectorXd::Zero(solver.columns()), 0};
  for (const double c : grid) {
    at = solver.fit(s, c, kFoldTolerance * c * s.sum(), at);
    result.push_back(at);
  }
  return result;
}

}  // namespace

LinearProbe fit_logistic(const SparseFeatures& x, Labels y, const LogisticOptions& options,
                         uint64_t seed) {
  check_training(x, y, "logistic regression");
  const LogisticOptions own = by_document(x.documents, options);
  if (own.penalty == Penalty::l2 && x.cols <= x.rows()) {
    const std::vector<float> full = in_full(x);
    return fit_logistic(ConstMatrix{full.data(), x.rows(), x.cols}, y, own, seed);
  }
  Chosen chosen;
  LinearProbe probe;
  if (own.penalty == Penalty::l2) {
    const InKernel problem(x, own.standardise);
    auto solver = make_l2_solver(problem.factor.l, y);
    chosen = choose_and_fit(*solver, y, own, seed);
    probe = unfolded(problem.weights(chosen.solution.w), chosen.solution.b, problem.rows.mean,
                     problem.rows.inverse_scale);
  } else {
    const PreparedColumns rows = prepare(x, own.standardise);
    auto solver = make_l1_solver(rows, y);
    chosen = choose_and_fit(*solver, y, own, seed);
    probe = unfolded(chosen.solution.w, chosen.solution.b, rows.mean, rows.inverse_scale);
  }
  probe.c = chosen.c;
  probe.cv_auroc = chosen.cv_auroc;
  return probe;
}

std::vector<LinearProbe> fit_path(const SparseFeatures& x, Labels y, std::vector<double> c_grid,
                                  bool standardise) {
  check_training(x, y, "logistic regression");
  const std::vector<double> grid = checked_grid(std::move(c_grid), Penalty::l2);
  std::vector<LinearProbe> probes;
  if (x.cols > x.rows()) {
    const InKernel problem(x, standardise);
    auto solver = make_l2_solver(problem.factor.l, y);
    for (const Solution& at : path(*solver, grid, x.rows()))
      probes.push_back(
          unfolded(problem.weights(at.w), at.b, problem.rows.mean, problem.rows.inverse_scale));
  } else {
    const std::vector<float> full = in_full(x);
    const Prepared rows = prepare(ConstMatrix{full.data(), x.rows(), x.cols}, standardise);
    auto solver = make_l2_solver(rows.z, y);
    for (const Solution& at : path(*solver, grid, x.rows()))
      probes.push_back(unfolded(at.w, at.b, rows.mean, rows.inverse_scale));
  }
  for (std::size_t i = 0; i < grid.size(); ++i) probes[i].c = grid[i];
  return probes;
}

}  // namespace assay::eval
