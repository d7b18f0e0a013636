// Activations with structure: sparse sums of planted unit features, a mean, and a little noise.
#pragma once

#include <cmath>
#include <vector>

#include "kernels/primitives.h"
#include "tests/support/reference.h"

namespace assay::support {

/// x [rows, d] with E‖x‖² near 1. Every row sums about `active` of `features` planted directions.
inline std::vector<float> planted_activations(int64_t rows, int64_t d, int64_t features,
                                              int64_t active, uint64_t seed) {
  std::vector<float> directions = reference::normal(features * d, 7'777),
                     mean = reference::normal(d, 7'778, 0.3f);
  for (int64_t f = 0; f < features; ++f) {
    const float length =
        std::sqrt(kScalarPrimitives.dot(&directions[f * d], &directions[f * d], d));
    for (int64_t c = 0; c < d; ++c) directions[f * d + c] /= length;
  }
  std::mt19937_64 engine(seed);
  std::vector<float> x = reference::normal(rows * d, seed + 1, 0.01f);
  for (int64_t i = 0; i < rows; ++i) {
    for (int64_t a = 0; a < active; ++a) {
      const auto f = static_cast<int64_t>(engine() % static_cast<uint64_t>(features));
      const float size = 0.5f + static_cast<float>(engine() % 1000) / 1000.0f;
      for (int64_t c = 0; c < d; ++c) x[i * d + c] += size * directions[f * d + c];
    }
    for (int64_t c = 0; c < d; ++c)
      x[i * d + c] = (x[i * d + c] + mean[c] / std::sqrt(static_cast<float>(d))) /
                     std::sqrt(static_cast<float>(active));
  }
  return x;
}

}  // namespace assay::support
