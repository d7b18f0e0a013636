// The learning rate over a run: linear warm-up, constant, decay to zero.
#pragma once

#include <cstdint>

#include "sae/train_config.h"

namespace assay::sae {

/// Factor of the base learning rate for optimiser step `step` (0-based), in (0, 1]: (step + 1) /
/// warmup_steps at first, 1, and over the last `decay_fraction` of the steps, with p the share of
/// the decay that has passed,
///   linear 1 − p,  cosine (1 + cos πp) / 2 (Loshchilov and Hutter 2017),
///   sqrt 1 − √p (Hägele et al. 2024).
/// Where both apply, the smaller of the two.
double schedule_factor(const TrainConfig& train, int64_t step);

}  // namespace assay::sae
