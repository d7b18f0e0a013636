// Task "seed_stability": how much of a dictionary another training seed finds again.
//
// For each pair of trained dictionaries of one setting (variant, d, n, k, tokens) and different
// seeds: up to seed_stability.latents living latents of the first, drawn by seed, are matched one
// to one with all latents of the second, twice: at largest summed cosine of decoder rows, and of
// encoder rows (Hungarian). A latent is shared where both matchings give it the same partner and
// the mean of the two cosines is above .7 (after Paulo and Belrose 2025).
//
// Numbers, dictionary = the first, method "A ~ B": "shared_share" (Wilson over latents),
// "matched_cosine" parts "decoder" and "encoder" (interval over latents). The same against B's
// random control, where there is one: method "A ~ B:random", control "random". Ranks nothing: it
// says how far a single latent may be believed.
#pragma once

#include "eval/tasks/task.h"

namespace assay::eval::core {

/// One pair of dictionaries.
struct SharedLatents {
  int64_t latents = 0, shared = 0;
  /// [latents] cosines of the matched pairs; 0 for a latent without partner
  std::vector<double> decoder, encoder;
};

/// Up to `most` of the latents that fired, drawn by seed, ascending.
std::vector<int64_t> living_sample(const std::vector<int64_t>& firing, int64_t most, uint64_t seed);

/// `chosen`: latents of a. Throws Error where the widths d differ.
SharedLatents match_latents(Context& context, const sae::Dictionary& a, const sae::Dictionary& b,
                            const std::vector<int64_t>& chosen);

extern const TaskEntry kSeedStability;

}  // namespace assay::eval::core
