// The backward pass of a sparse autoencoder over active pairs only.
#pragma once

#include <vector>

#include "kernels/base/context.h"
#include "kernels/base/view.h"
#include "kernels/sparse_codes.h"

namespace assay {

/// ∂L/∂value of every active pair: out[p] = g[i]·w_dec[indices[p]] where values[p] > 0, else 0
/// (ReLU's derivative; a winner that is not positive passes nothing on). g [B, d] = ∂L/∂x̂, w_dec
/// [n, d]. Canonical dots: the same bits on any number of threads and any instruction set.
void value_gradient(Context& context, const SparseCodes& codes, ConstMatrix g, ConstMatrix w_dec,
                    std::vector<float>& out);

/// The pairs of codes ordered by latent, then row (a stable sort): what weight gradients sum in.
struct PairsByLatent {
  std::vector<int64_t> offsets;  ///< [n + 1]
  std::vector<int32_t> rows;     ///< row of each pair
  std::vector<int64_t> pairs;    ///< its place in the codes
};

/// A latent with two pairs in one row keeps both, in their order.
/// All pairs but those whose two weights (decode_weights[p], encode_weights[p]) are both 0: they
/// carry no gradient. Either may be null (no weight). The same order on any number of threads.
void sort_by_latent(Context& context, const SparseCodes& codes, int64_t n,
                    const float* decode_weights, const float* encode_weights, PairsByLatent& out);

/// out[j] = Σ per_pair[p] over latent j's pairs in pair order, out [n] (gradients of θ, r_mag,
/// second biases).
void sum_by_latent(const SparseCodes& codes, const std::vector<float>& per_pair, int64_t n,
                   std::vector<float>& out);

}  // namespace assay
