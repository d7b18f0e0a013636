// The values of a Gated autoencoder, in training and as published.
#pragma once

#include "kernels/sparse_codes.h"

namespace assay::sae {

/// codes hold π = W_gate·x + b_gate of the open gates; each becomes ReLU(exp(r_mag)·(π − b_gate) +
/// b_mag).
void open_gates(SparseCodes& codes, const float* b_gate, const float* r_mag, const float* b_mag);

}  // namespace assay::sae
