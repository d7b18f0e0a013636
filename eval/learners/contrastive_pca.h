// Contrastive principal components: where one class varies and the other does not. dtypes, threads,
// determinism and errors as in eval/learners/linear.h.
#pragma once

#include "eval/learners/erasure.h"

namespace assay::eval {

/// Removes (orthogonal projection, about the negatives' mean) the `rank` leading eigenvectors of M₁
/// − alpha · M₀, with M_c = E[(x − μ₀)(x − μ₀)ᵀ | y = c] about the negatives' mean (Abid et al.
/// 2018, there about each set's own mean: the shift between the classes is what is to go, so here
/// it counts as variation). Fewer directions where fewer eigenvalues are positive, none at least.
/// Each class needs a row; alpha >= 0; 1 <= rank <= f. O(n·f² + f³).
Eraser fit_contrastive_pca(ConstMatrix x, Labels y, double alpha, int64_t rank);

}  // namespace assay::eval
