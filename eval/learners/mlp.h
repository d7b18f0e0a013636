// A small regression network, the organism of the hidden-goal task: score = v · ReLU(W z + b) + c
// on fp32 rows z. Single-threaded and reentrant; the same rows, targets and seed give the same
// bits.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "kernels/base/view.h"

namespace assay::eval {

struct MlpOptions {
  int64_t hidden = 64;
  int64_t epochs = 20;
  int64_t batch = 128;
  double learning_rate = 3e-3;  ///< Adam (β .9, .999, ε 1e-8), falling linearly to 0
  double weight_decay = 1e-3;   ///< decoupled, on W and v
};

struct Mlp {
  int64_t features = 0, hidden = 0;
  std::vector<float> w, b, v;  ///< [hidden, features], [hidden], [hidden]
  float c = 0;

  /// z [m, features] → m scores. Error on another number of features.
  std::vector<float> score(ConstMatrix z) const;
  /// W z + b, [m, hidden]: for scores under shifts, which move it by W·shift.
  std::vector<float> hidden_input(ConstMatrix z) const;
  /// ∂score/∂z at each row, summed by group: out[group[i]] += gradient, out [groups, features];
  /// group[i] in [0, groups).
  std::vector<double> gradient_sums(ConstMatrix z, std::span<const int32_t> group,
                                    int64_t groups) const;
};

/// Least squares by Adam on shuffled batches, from He's initialisation. targets [z.rows]. Error
/// where shapes do not fit, z has no rows, or training ends on a value that is not finite.
Mlp train_mlp(ConstMatrix z, std::span<const float> targets, const MlpOptions& options,
              uint64_t seed);

}  // namespace assay::eval
