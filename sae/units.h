// The units that a dictionary is trained in, and the way back to raw activations.
//
// Rows are trained on as (x − shift)·scale, hook by hook. Let μ = E x and σ² = E‖x − μ‖².
//   ‖μ‖ ≤ σ  shift = 0, scale = 1/√E‖x‖²: the scale that the index stores
//   ‖μ‖ > σ  shift = μ, scale = 1/σ
// so E‖·‖² = 1 either way. A mean that outweighs the spread would otherwise rule the scale:
// learning rates, thresholds and penalties are made for rows of length 1, and what varies would be
// much shorter.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "data/dataset.h"
#include "kernels/base/view.h"

namespace assay::sae {

/// The columns of one hook, or of several side by side.
struct Units {
  std::vector<float> shift;   ///< [d]
  std::vector<double> scale;  ///< [d]
  bool centred = false;       ///< whether a shift is not zero

  /// y ← (y − shift)·scale, in fp32.
  void apply(float* y) const;
  void append(const Units& hook);
  /// Hex SHA-256 of shift and scale: a run that is resumed must find the same.
  std::string hash() const;
};

/// ‖μ‖ / σ; 0 where the statistics are unknown.
double mean_ratio(const data::HookInfo& hook);
double training_scale(const data::HookInfo& hook);
/// Throws Error naming the hook (`where`: the data set) where its statistics are unknown.
Units units_of(const std::vector<data::HookInfo>& hooks, const std::string& where);

}  // namespace assay::sae
