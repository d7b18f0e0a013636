// Linear probes on sparse features, as codes of texts are. No matrix of rows × features is made:
// memory grows with the entries, and with rows² or rows × chosen columns. What
// eval/learners/linear.h says about labels, folds, determinism and errors holds here too.
#pragma once

#include <cstdint>
#include <vector>

#include "eval/learners/linear.h"
#include "kernels/sparse_codes.h"

namespace assay::eval {

/// Rows [rows, cols] of which only the entries in `codes` need not be 0; a row's ascend by column.
struct SparseFeatures {
  int64_t cols = 0;
  SparseCodes codes;
  std::vector<int64_t> documents = {};  ///< of each row

  int64_t rows() const { return codes.rows(); }
};

/// Every entry that is not 0.
SparseFeatures sparse_of(ConstMatrix x, std::vector<int64_t> documents);

/// As of the same matrix in full (eval/learners/probes.h), to the bit.
std::vector<int64_t> rank_features(const SparseFeatures& x, Labels y);

/// [rows, columns] in full, row-major.
std::vector<float> dense_columns(const SparseFeatures& x, const std::vector<int64_t>& columns);

/// Mean over columns of the variance over rows (1/n).
double mean_variance(const SparseFeatures& x);

/// As fit_columns and fit_logistic of the same matrix in full; the first to the bit, the second to
/// rounding. Folds are made by x.documents, whatever the options say.
LinearProbe fit_columns(const SparseFeatures& x, Labels y, const std::vector<int64_t>& columns,
                        const LogisticOptions& options, uint64_t seed);
LinearProbe fit_logistic(const SparseFeatures& x, Labels y, const LogisticOptions& options,
                         uint64_t seed);

/// One l2 probe for every C of the grid (as LogisticOptions has it), from one factorisation and
/// each from the one before: for a choice by rows that are not among x. Ends with a gradient below
/// 1e-4·C·Σs, as the folds do: enough for ranks.
std::vector<LinearProbe> fit_path(const SparseFeatures& x, Labels y, std::vector<double> c_grid,
                                  bool standardise);

/// One score a row, to the bit those of the same matrix in full.
std::vector<double> score(const LinearProbe& probe, const SparseFeatures& x);

}  // namespace assay::eval
