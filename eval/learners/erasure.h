// Linear concept erasure: the baselines that removing latents is compared with. dtypes, threads,
// determinism and errors as in eval/learners/linear.h.
#pragma once

#include <cstdint>
#include <vector>

#include "eval/learners/linear.h"

namespace assay::eval {

/// x ↦ x − Σ_r left_r · (right_r · (x − centre)).
class Eraser {
 public:
  int64_t features() const { return static_cast<int64_t>(centre.size()); }
  int64_t rank() const { return features() ? static_cast<int64_t>(left.size()) / features() : 0; }
  /// x [m, f] → out [m, f]; out may be x.
  void apply(ConstMatrix x, Matrix out) const;

  std::vector<double> centre;       ///< [f]
  std::vector<double> left, right;  ///< [rank, f] row-major
};

/// Removes the component along μ₁ − μ₀ (orthogonal projection), about the rows' mean: afterwards
/// both classes' means agree. Error where they already do.
Eraser fit_mean_projection(ConstMatrix x, Labels y);

/// LEACE (Belrose et al. 2023, theorem 4.3): of all affine maps that leave no linear probe better
/// than a constant, the one that changes x least (mean squared distance). x − W⁺PW(x − μ), W =
/// Σ^(−1/2), P the projection on W·Σ_xy. Σ over all rows with 1/n; its eigenvalues below 1e-10 of
/// the largest count as 0. Memory 16·f² bytes.
Eraser fit_leace(ConstMatrix x, Labels y);

/// Nuisance attribute projection (Solomonoff, Campbell and Boardman 2005): `differences` [pairs, f]
/// are what one thing seen in two ways differs by; their leading `rank` right singular vectors
/// (uncentred, at most as many as there are) are projected out, orthogonally and about 0. rank >=
/// 1; Error where a difference is not finite or all are 0.
Eraser fit_paired_projection(ConstMatrix differences, int64_t rank);

/// Iterative null-space projection (Ravfogel et al. 2020): `rank` times, a logistic probe is fitted
/// on what is left and its direction projected out, orthogonally, about the rows' mean. Fewer
/// rounds where the probe's direction vanishes. `options` and the seed go to every fit. 1 <= rank
/// <= f.
Eraser fit_inlp(ConstMatrix x, Labels y, int64_t rank, const LogisticOptions& options,
                uint64_t seed);

}  // namespace assay::eval
