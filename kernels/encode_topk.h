// encode_topk: the k largest pre-activations of every row, without ever holding B×n of them.
//
//   pre[i, j] = x[i]·W_enc[j] + b_enc[j]
//
// The winners are those of the canonical fp32 dot (kernels/primitives.h), whatever the tile, the
// thread or the instruction set: a bf16 product screens (kernels/screening.h), keeping every latent
// whose screened value plus its error bound reaches the k-th best lower bound, and the survivors
// are rescored. How many survive depends on d and on the norms, so lists grow. A row of which a
// good part of all latents survives (near-ties) is scored exactly over all n.
#pragma once

#include <cstdint>

#include "kernels/base/context.h"
#include "kernels/base/numeric_flag.h"
#include "kernels/base/view.h"
#include "kernels/screen_copy.h"
#include "kernels/sparse_codes.h"

namespace assay {

struct Encoder {
  ConstMatrix w;             ///< [n, d] fp32 master weights
  const float* bias;         ///< [n]
  const ScreenCopy* screen;  ///< of w, up to date
  /// [n] > 0: selection ranks scale·pre (crosscoders: Σ‖d‖); null: pre itself
  const float* rank_scale = nullptr;
};

/// Throws UsageError, naming the operation, where x, the weights and the screening copy do not fit
/// one another.
void check_encoder(const char* operation, ConstMatrix x, const Encoder& encoder);

/// x [B, d], already centred (x − b_dec where the variant says so). Gives exactly k pairs a row,
/// indices ascending, values = pre (the caller applies its activation), chosen by pre or, with
/// rank_scale, by scale·pre. Ties go to the smaller index. 1 ≤ k ≤ n.
/// A row whose pre is not finite at some latent (a value of its own is not, or a sum overflows)
/// raises `flag` with the row, whose pairs are then indices 0…k−1, values 0; so does every row
/// where a weight, a bias or a scale is not finite. Large weights are ordinary: rows for which bf16
/// proves nothing are scored exactly. Deterministic: the same bits on any number of threads and any
/// instruction set. Workspace: O(B·k) for the result and, a worker, a tile of rows in bf16 and 2k +
/// 256 candidates a row of the tile; twice as many as long as more than half survive, up to n/2.
/// Throws UsageError where shapes or k do not fit.
void encode_topk(Context& context, ConstMatrix x, const Encoder& encoder, int64_t k,
                 SparseCodes& out, NumericFlag& flag);

}  // namespace assay
