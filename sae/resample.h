// Dead latents moved to badly reconstructed inputs, the alternative to AuxK: Bricken et al. 2023,
// "Towards Monosemanticity", appendix "Neuron Resampling".
#pragma once

#include <cstdint>

#include "kernels/base/context.h"
#include "kernels/base/view.h"
#include "sae/variant.h"

namespace assay::sae {

/// Whether dead latents are resampled when `step` steps are done: at multiples of
/// train.resample_every, before the learning rate decays.
bool resampling_due(const TrainConfig& train, int64_t step);

/// Throws UsageError where resampling does not know what to do with the variant: parameters of its
/// own, or outputs that are not the inputs.
void check_resampling(const Variant& variant, const State& state);

/// Every latent that has been silent for `dead_after_tokens` tokens gets an input drawn from the
/// rows of x [B, d] (at the training scale) with probability ∝ its squared loss: the decoder row
/// its direction from b_dec, the encoder row the same at 0.2 of the living latents' mean norm, no
/// bias, no moments, its silence and average begun anew. Draws depend on (seed, step) alone.
/// Returns how many.
int64_t resample_dead(Context& context, const Variant& variant, State& state, ConstMatrix x,
                      uint64_t seed);

}  // namespace assay::sae
