// Matching pursuit (Mallat and Zhang 1993) as an encoder: k greedy steps on the residual.
#pragma once

#include <cstdint>
#include <vector>

#include "kernels/base/context.h"
#include "kernels/base/numeric_flag.h"
#include "kernels/base/view.h"
#include "kernels/encode_topk.h"
#include "kernels/sparse_codes.h"

namespace assay::sae {

/// What was chosen at each step of each row. A value is 0 where nothing correlated positively any
/// more.
struct Pursuit {
  std::vector<int32_t> latents;  ///< [k, B]
  std::vector<float> values;     ///< [k, B]
  std::vector<float> residual;   ///< [B, d] after the last step
};

/// r = x [B, d]; k times: j = argmax pre(r), ties to the smaller index, c = max(pre_j(r), 0), r −=
/// c·decoder[j], with pre as in encode_topk: one product with all latents a step. `codes` holds a
/// row's positive values, indices ascending, those of a latent that was chosen again added up in
/// order; at most k pairs.
/// Deterministic: the same bits on any number of threads and any instruction set. A row that is not
/// finite raises `flag`; nothing else is of use then.
void pursue(Context& context, ConstMatrix x, const Encoder& encoder, ConstMatrix decoder, int64_t k,
            Pursuit& pursuit, SparseCodes& codes, NumericFlag& flag);

}  // namespace assay::sae
