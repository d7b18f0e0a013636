// The probes that dictionaries are compared with, behind one call. What eval/learners/linear.h says
// about dtypes, threads, determinism and errors holds here too.
#pragma once

#include <cstdint>
#include <memory>
#include <string_view>
#include <vector>

#include "eval/learners/linear.h"

namespace assay::eval {

enum class ProbeKind {
  logistic,      ///< fit_logistic
  diff_means,    ///< fit_diff_means
  lda,           ///< fit_lda
  pca_logistic,  ///< fit_pca_logistic
  knn,           ///< fit_knn
};

struct ProbeOptions {
  LogisticOptions logistic;     ///< logistic, pca_logistic
  int64_t pca_components = 64;  ///< pca_logistic
  int64_t neighbours = 32;      ///< knn
};

std::unique_ptr<Scorer> fit_probe(ProbeKind kind, ConstMatrix x, Labels y,
                                  const ProbeOptions& options, uint64_t seed);

/// Direction (μ₁ − μ₀)/‖μ₁ − μ₀‖ of the raw features; 0 half-way between the means. Error where the
/// means are equal.
LinearProbe fit_diff_means(ConstMatrix x, Labels y);

/// Linear discriminant: Σ⁻¹(μ₁ − μ₀), with Σ the prior-weighted sum of the classes' Ledoit-Wolf
/// covariances, each estimated on features standardised within the class (Ledoit and Wolf 2004;
/// scikit-learn's solver "lsqr", shrinkage "auto"). The score is the log odds. Each class needs 2
/// rows. Memory 8·f² bytes: for dense activations.
LinearProbe fit_lda(ConstMatrix x, Labels y);

/// Principal axes of the centred rows.
struct Pca {
  std::vector<double> mean;  ///< [f]
  /// [k, f] row-major, orthonormal; each one's largest entry (by size) is positive
  std::vector<double> components;
  std::vector<double> variance;  ///< [k], with 1/(n − 1), descending
};

/// The first k axes; fewer where the rows' rank is smaller (axes with less than 1e-10 of the first
/// one's variance are dropped). From the covariance where f <= n, else from the Gram matrix.
Pca fit_pca(ConstMatrix x, int64_t k);

/// Logistic regression on the first k principal coordinates (standardised, as ever), as one linear
/// probe.
LinearProbe fit_pca_logistic(ConstMatrix x, Labels y, int64_t k, const LogisticOptions& options,
                             uint64_t seed);

/// Share of positives among the k nearest training rows by cosine; equal distances go to the
/// earlier row; a zero row's cosine is 0. k is at most n. Keeps a copy of x.
std::unique_ptr<Scorer> fit_knn(ConstMatrix x, Labels y, int64_t k);

/// |μ₁ − μ₀| / (sd + ½·median of all features' sd) per feature; sd over all rows, with 1/n. A
/// constant feature has 0.
std::vector<double> feature_contrast(ConstMatrix x, Labels y);

/// All features, the best contrast first; ties to the smaller index. Take the first k for a top-k
/// read-out.
std::vector<int64_t> rank_features(ConstMatrix x, Labels y);

/// Logistic regression on the given columns of x (the first k of rank_features); scores the whole
/// matrix.
LinearProbe fit_columns(ConstMatrix x, Labels y, const std::vector<int64_t>& columns,
                        const LogisticOptions& options, uint64_t seed);

}  // namespace assay::eval
