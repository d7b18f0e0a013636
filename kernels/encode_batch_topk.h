// encode_batch_topk: the largest activations of a whole batch share one budget (BatchTopK; Bussmann
// et al. 2024).
#pragma once

#include <cstdint>

#include "kernels/base/context.h"
#include "kernels/base/numeric_flag.h"
#include "kernels/base/view.h"
#include "kernels/encode_topk.h"
#include "kernels/sparse_codes.h"

namespace assay {

/// x [B, d], already centred. Keeps the `budget` largest of ReLU(pre) over all rows and latents, or
/// of scale·ReLU(pre) with encoder.rank_scale; ties by value go to the smaller (row, index). What
/// is not positive is never chosen, so there may be fewer pairs. Rows have any number of pairs,
/// indices ascending, values = pre. 1 ≤ budget ≤ B·n. Exact: the winners are those of the canonical
/// fp32 pre-activations. It first takes the 2·⌈budget/B⌉ best of every row; the cut among them
/// bounds the true one, and only rows that lie above it throughout are searched for twice as many,
/// until none does. What is not finite raises `flag` as in encode_topk; the result is then empty.
/// The same bits on any number of threads and any instruction set. Workspace: O(budget), and what
/// ties exactly at the cut. Throws UsageError where shapes or the budget do not fit.
void encode_batch_topk(Context& context, ConstMatrix x, const Encoder& encoder, int64_t budget,
                       SparseCodes& out, NumericFlag& flag);

}  // namespace assay
