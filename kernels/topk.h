// topk: the k largest of every row of a matrix that is already there. The encoders never hold such
// a matrix and do not use it: it is for callers that have one, and the measure of what selection
// alone costs (`assay bench topk --device cuda`).
#pragma once

#include <cstdint>

#include "kernels/base/context.h"
#include "kernels/base/numeric_flag.h"
#include "kernels/base/view.h"
#include "kernels/sparse_codes.h"

namespace assay {

/// The order of a row's pairs: by index ascending, or by value descending (ties by index
/// ascending).
enum class TopkOrder { index, value };

/// z [B, n] fp32. Gives exactly k pairs a row: the k largest values as they stand in z, ties to the
/// smaller index (−0 equals 0). 1 ≤ k ≤ n < 2³¹. Infinities are ordinary values.
/// A row with a NaN raises `flag` with the row; that row's pairs are then indices 0…k−1, values 0.
/// Deterministic: every back end gives the same pairs, on any number of threads.
/// Workspace: n indices a worker (CPU), none (CUDA). Throws UsageError where k or n does not fit.
void topk(Context& context, ConstMatrix z, int64_t k, TopkOrder order, SparseCodes& out,
          NumericFlag& flag);

}  // namespace assay
