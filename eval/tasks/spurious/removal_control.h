// Random latents in the place of those that are ablated: as many, about as often active, about as
// strong. What ablating anything of that weight does.
#pragma once

#include <cstdint>
#include <vector>

#include "eval/tasks/spurious/removal_scores.h"

namespace assay::eval::spurious {

/// How much of a space a latent is, over the training texts. Both logarithms; −∞ where it is never
/// active.
struct LatentWeight {
  double rate = 0;  ///< share of the texts on which it is active
  double size = 0;  ///< mean of |z|·‖d‖ on these
};
/// [m].
std::vector<LatentWeight> latent_weights(const RemovalSpace& space);

/// For every chosen latent one of the kNear latents nearest to it in (rate, size), at random: no
/// chosen one, none twice. Those without a partner, where more than half of all are chosen, are
/// left out. In the order of `chosen`.
std::vector<int64_t> draw_partners(const std::vector<LatentWeight>& weights,
                                   const std::vector<int64_t>& chosen, uint64_t seed);

/// How well the drawn latents match, summed over draws.
struct MatchQuality {
  int64_t chosen = 0, drawn = 0;  ///< latents
  double rate = 0, size = 0;      ///< of the drawn less of those they stand for
  void add(const std::vector<LatentWeight>& weights, const std::vector<int64_t>& of,
           const std::vector<int64_t>& partners);
  void add(const MatchQuality& other);
};

}  // namespace assay::eval::spurious
