// A running average of the weights over the steps, published in place of the last ones (Polyak and
// Juditsky 1992; the exponential form with a decay that warms up as in TensorFlow's
// ExponentialMovingAverage).
#pragma once

#include "kernels/base/context.h"
#include "sae/state.h"

namespace assay::sae {

/// state.averaged ← the parameters as they are.
void start_average(State& state);
/// After step t = state.step: a ← β a + (1 − β) p for every parameter, β = min(decay, (1 + t) / (10
/// + t)).
void average(Context& context, State& state, double decay);
/// The parameters ← their averages where there are some, averaged decoder rows on the unit sphere
/// again where `unit_norm`; the screening copy follows. Training cannot go on from there.
void publish_average(Context& context, State& state, bool unit_norm);

}  // namespace assay::sae
