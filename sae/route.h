// Experts: a router sends each row to one block of the latents (Switch sparse autoencoders), in
// training and as published.
#pragma once

#include <cstdint>
#include <vector>

#include "kernels/base/context.h"
#include "kernels/base/numeric_flag.h"
#include "kernels/base/view.h"
#include "kernels/sparse_codes.h"

namespace assay::sae {

/// E experts of n/E latents, one block after another; logits = w·x + bias.
struct Router {
  ConstMatrix w;  ///< [E, d]
  const float* bias;
};

struct Routes {
  std::vector<float> probabilities;  ///< [B, E], each row a softmax
  std::vector<int32_t> expert;       ///< [B] the likeliest; ties to the smaller
};

/// x [B, d]. A row whose probabilities are not finite raises `flag`. The same bits on any number of
/// threads and any instruction set.
Routes route(Context& context, ConstMatrix x, const Router& router, NumericFlag& flag);

/// The k largest pre-activations among the row's expert's latents, exactly k pairs a row, value =
/// the expert's probability times ReLU(pre). w [n, d], bias [n]; E must divide n, k ≤ n/E. Work:
/// B·n/E dots, and one rounding of w for screening. Flag and bits as in encode_topk.
void encode_routed(Context& context, ConstMatrix x, ConstMatrix w, const float* bias,
                   const Routes& routes, int64_t k, SparseCodes& out, NumericFlag& flag);

}  // namespace assay::sae
