// Linear probes: the form that all of them take, and logistic regression. Features are [n, f]
// row-major fp32, everything inside is double in a fixed order: the same input and seed give the
// same bits. Single-threaded and reentrant: run classes side by side on the thread pool. Errors
// (assay::Error, one line): shapes that do not fit, a class missing from the labels, a label other
// than 0 and 1, a non-finite feature (row and column named), a solver that did not converge.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "eval/statistics/stats.h"
#include "kernels/base/view.h"

namespace assay::eval {

/// Anything that gives rows a score; higher = rather positive.
class Scorer {
 public:
  virtual ~Scorer() = default;
  /// x [m, f] with the f it was fitted on → m scores. Error on another f.
  virtual std::vector<double> score(ConstMatrix x) const = 0;
};

/// score = bias + Σ_j weights[j] · x[columns[j]]. Standardisation is folded in: weights and bias
/// are in the features' own units.
struct LinearProbe : Scorer {
  int64_t features = 0;          ///< f of the matrix it was fitted on
  std::vector<int64_t> columns;  ///< the features used, distinct; empty = all, in order
  std::vector<double> weights;   ///< [columns or f]
  double bias = 0;
  double c = 0;         ///< the C that cross-validation took; 0 where there is none
  double cv_auroc = 0;  ///< its mean AUROC over the folds; 0 where nothing was chosen

  std::vector<double> score(ConstMatrix x) const override;
};

enum class Penalty { l2, l1 };

/// min over w, b of penalty(w) + C · Σ_i s_i log(1 + exp(−(2y_i − 1)(w·z_i + b))), penalty = ½‖w‖²
/// or ‖w‖₁, the intercept free: scikit-learn's LogisticRegression. z = (x − mean)/sd over the
/// training rows (sd with 1/n). A constant feature gets weight 0, and so does one whose sd is below
/// 1e-12 of the largest.
struct LogisticOptions {
  Penalty penalty = Penalty::l2;
  /// ascending, > 0; empty = default_c_grid(penalty); one value = no cross-validation
  std::vector<double> c_grid;
  /// stratified; at most the documents of the class that has fewer of them
  int folds = 5;
  /// Document of each row: rows of one document stand in one fold. Needed to choose C.
  std::span<const int64_t> documents = {};
  bool balanced = false;    ///< s_i = n / (2 · count of y_i's class) instead of 1
  bool standardise = true;  ///< false: z = x
};

/// l2: 1e-4 … 1 by tens. l1: .01, .03, .1, .3, 1.
std::vector<double> default_c_grid(Penalty penalty);

/// The options with folds by document; `documents` must outlive them.
LogisticOptions by_document(std::span<const int64_t> documents, LogisticOptions options = {});

/// AUROCs that differ by no more are tied: sums of the same numbers in another order do.
inline constexpr double kAurocTie = 1e-12;

/// C is the one with the best mean AUROC over the folds, ties (kAurocTie) to the smaller C; then
/// fitted on all rows. Standardisation is over all training rows, once. A fold counts where it is
/// one of two_sided_folds; if there is none (a class of one document, or of one row), C is the
/// smallest.
/// l2: L-BFGS preconditioned by the Cholesky factor of I + C/4·ZᵀZ (Böhning and Lindsay's bound);
/// where f > n exactly the same problem in at most n coordinates, from the pivoted Cholesky factor
/// of ZZᵀ. Ends with a gradient below 1e-8·min(1, C·Σs). l1: proximal Newton with coordinate
/// descent over an active set (newGLMNET, Yuan et al. 2012); ends with a subgradient below
/// 1e-6·min(1, C·Σs). In the folds 1e-4·C·Σs: enough for ranks. Time O(n·f·min(n, f)), measured 50
/// ms at 600×384 and 0.2 s (l1: 1 s) at 600×6144 with folds; where n > f > 2000 the factor of f×f
/// is the cost. Memory 16·n·f + 16·min(n, f)² bytes and a few vectors.
LinearProbe fit_logistic(ConstMatrix x, Labels y, const LogisticOptions& options, uint64_t seed);

/// Fold of each row, 0 … folds − 1; a document's rows share one. Each class is shuffled. The one of
/// fewer documents is dealt first (of as many, the one of fewer rows): each document that has no
/// fold yet goes to the fold with the fewest rows of the class, ties to the first. If each row is
/// its own document, a class is dealt in turn. Two documents of each class make fold 0 two-sided.
std::vector<int> stratified_folds(Labels y, std::span<const int64_t> documents, int folds,
                                  uint64_t seed);

/// The folds that have both classes, as the rows outside of them do, ascending.
std::vector<int> two_sided_folds(Labels y, std::span<const int> fold_of, int folds);

}  // namespace assay::eval
