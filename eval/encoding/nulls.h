// Control dictionaries: what a number looks like when nothing was learnt. They get the same
// treatment as trained ones.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "data/dataset.h"
#include "sae/dictionary.h"

namespace assay::eval {

/// The kinds make_null knows.
const std::vector<std::string>& null_kinds();

/// A control with the d, n and k of `like`; info.null_kind = kind, info.seed = seed.
///   random            encoder = decoder = independent unit vectors uniform on the sphere, b_enc =
///                     0, b_dec = the data set's mean; k latents a row. Never trained.
///   rate_matched      random, with biases moved until latent j fires about as often as like's
///                     latent j (on 4,096 ordinary tokens): how often latents fire, without what
///                     they fire on.
///   permuted_encoder  like's decoder, b_enc and b_dec; the entries of each encoder row permuted
///                     over the dimensions, each row on its own: norms and the spread of weights
///                     stay, directions are gone.
/// Throws UsageError on an unknown kind, naming the known ones.
sae::Dictionary make_null(const std::string& kind, const sae::Dictionary& like,
                          const data::Dataset& dataset, uint64_t seed);

}  // namespace assay::eval
