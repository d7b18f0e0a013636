// The control of an intervention on chosen latents: others in their place, as many, about as often
// active, about as strong. What intervening on anything of that weight does.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "kernels/base/view.h"

namespace assay::eval {

/// How much of a space a latent is. Both are logarithms, and −∞ where it never fires or writes
/// nothing.
struct LatentWeight {
  double rate = 0;  ///< share of the rows on which it fires
  double size = 0;  ///< mean length of what it writes on these: mean |z|·‖d‖
};

/// Of a latent that fires on this share of the rows, with this mean |z| there.
LatentWeight latent_weight(double rate, double mean_active, std::span<const float> decoder_row);

/// [codes.cols] over all rows. `decoder` [codes.cols, d].
std::vector<LatentWeight> latent_weights(ConstMatrix codes, std::span<const float> decoder);

/// In the place of a chosen latent that has no partner.
inline constexpr int64_t kUnmatched = -1;

/// [chosen]: for every chosen latent one of the 8 free ones nearest to it in (rate, size), at
/// random; none of the chosen, none twice. Latents without weight are nobody's partner and have
/// none; others have none where more than half of all are chosen and none is left.
std::vector<int64_t> matched_latents(std::span<const LatentWeight> weights,
                                     std::span<const int64_t> chosen, uint64_t seed);

/// How well partners match, summed over draws.
struct MatchQuality {
  int64_t chosen = 0, drawn = 0;  ///< latents
  double rate = 0, size = 0;      ///< of the drawn less of those they stand for
  void add(std::span<const LatentWeight> weights, std::span<const int64_t> of,
           std::span<const int64_t> partners);
  void add(const MatchQuality& other);
};

}  // namespace assay::eval
