// Inside of the logistic probes: solvers on prepared features, and the choice of C. Not for tasks;
// see eval/learners/linear.h.
#pragma once

#include <Eigen/Core>
#include <cstdint>
#include <memory>
#include <vector>

#include "eval/learners/linear.h"
#include "eval/learners/sparse_columns.h"

namespace assay::eval {

/// Gradient of the fits that only choose, as a share of C·Σs: enough for ranks.
inline constexpr double kFoldTolerance = 1e-4;
/// A feature whose deviation is below this share of the largest one is what rounding left:
/// standardised it would be noise as loud as any feature.
inline constexpr double kConstant = 1e-12;

using RowMajor = Eigen::Matrix<double, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;

/// Throws unless x and y fit, labels are 0 or 1, both classes are there and each feature is finite.
void check_training(ConstMatrix x, Labels y, const char* probe);

/// Centred (and scaled) rows: z = (x − mean) · inverse_scale. A constant feature (as linear.h has
/// it) has z = 0 and inverse_scale 0.
/// Centring changes nothing where the intercept is free, and keeps the problems well conditioned.
struct Prepared {
  RowMajor z;
  Eigen::VectorXd mean, inverse_scale;
};
Prepared prepare(ConstMatrix x, bool standardise);

struct Solution {
  Eigen::VectorXd w;
  double b = 0;
};

/// min penalty(w) + c · Σ_i s_i log(1 + exp(−(2y_i − 1)(a_i·w + b))) on fixed rows a [n, m] and
/// labels. Rows with s_i = 0 are left out, which is how the folds are made without copying rows.
class LogisticSolver {
 public:
  virtual ~LogisticSolver() = default;
  virtual int64_t columns() const = 0;
  /// Largest (sub)gradient entry at the end <= enough. Starts from `start` (w of size columns()).
  virtual Solution fit(const Eigen::VectorXd& s, double c, double enough,
                       const Solution& start) = 0;
  /// a · w + b for all rows.
  virtual Eigen::VectorXd margins(const Solution& solution) const = 0;
};

std::unique_ptr<LogisticSolver> make_l2_solver(RowMajor a, Labels y);
std::unique_ptr<LogisticSolver> make_l1_solver(const RowMajor& a, Labels y);
/// On sparse features; `a` must outlive it.
std::unique_ptr<LogisticSolver> make_l1_solver(const PreparedColumns& a, Labels y);

/// `grid`, or the penalty's default where it is empty. Throws Error unless it ascends above 0.
std::vector<double> checked_grid(std::vector<double> grid, Penalty penalty);

/// The final fit and the C that cross-validation took.
struct Chosen {
  Solution solution;
  double c = 0, cv_auroc = 0;
};
Chosen choose_and_fit(LogisticSolver& solver, Labels y, const LogisticOptions& options,
                      uint64_t seed);

/// K = L·Lᵀ to 1e-12 of K's largest diagonal entry, with pivoting (Higham 1990); K [n, n]
/// symmetric, positive semi-definite, only its lower triangle is read. L·u are the margins of the
/// kernel problem whose ‖w‖ is ‖u‖.
struct KernelFactor {
  RowMajor l;                   ///< [n, r]
  std::vector<int64_t> pivots;  ///< [r]: rows of l that form a lower triangle

  /// a [n] with K·a = L·u, zero outside the pivots: w = Zᵀ·a.
  Eigen::VectorXd dual(const Eigen::VectorXd& u) const;
};
KernelFactor factor_kernel(const Eigen::MatrixXd& k);

}  // namespace assay::eval
