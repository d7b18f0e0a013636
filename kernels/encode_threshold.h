// encode_threshold: every latent above its own threshold, without ever holding B×n pre-activations.
#pragma once

#include <vector>

#include "kernels/base/context.h"
#include "kernels/base/numeric_flag.h"
#include "kernels/base/view.h"
#include "kernels/encode_topk.h"
#include "kernels/sparse_codes.h"

namespace assay {

/// x [B, d], already centred; theta [n]; band ≥ 0. Row i's pairs, indices ascending, are the
/// latents with
///   pre > theta (strict):            value = pre
///   |pre − theta| < band/2, inactive: value = 0 (JumpReLU's θ gets its gradient there;
///       Rajamanoharan et al. 2024)
/// `pre`, where not null, receives pre of every pair. pre is the canonical fp32 one, screened like
/// encode_topk's: the same pairs and bits on any number of threads and any instruction set, at any
/// density. A row whose pre is not finite at some latent (a value of its own is not, or a sum
/// overflows) raises `flag` with the row, which is then empty; so does every row where a weight, a
/// bias or a θ is not finite. Large weights are ordinary. encoder.rank_scale is not used.
/// Workspace: the result twice, and a worker, a tile of rows in bf16 with 512 candidates a row.
/// Throws UsageError where shapes do not fit.
void encode_threshold(Context& context, ConstMatrix x, const Encoder& encoder, const float* theta,
                      float band, SparseCodes& out, std::vector<float>* pre, NumericFlag& flag);

}  // namespace assay
