// Clipping by the joint norm of the gradients (Pascanu, Mikolov and Bengio 2013, algorithm 1).
#pragma once

#include "kernels/backward_update.h"
#include "kernels/base/context.h"

namespace assay::sae {

/// What every gradient is multiplied with so that their joint norm over W_enc, W_dec (projected
/// where the update projects), b_enc and b_dec is at most `limit`: min(1, limit / norm). The first
/// `batch` rows of input.g reach b_dec directly, and all codes through the encoder's input where
/// `centred`. Deterministic; workspace one row of W_enc's width for each row of the codes. The
/// update itself recomputes the gradients: there is no buffer of n×d.
float clip_scale(Context& context, const BackwardInput& input, const LatentState& latents,
                 const UpdateOptions& options, int64_t batch, bool centred, double limit);

}  // namespace assay::sae
