// A causal language model's upper half whose weights train.
#pragma once

#include <cstdint>
#include <memory>

#include "sae/model_half.h"

namespace assay::sae {

/// A script. One thread at a time; the same steps give the same bits on one machine.
class TrainableLossHalf : public LossHalf {
 public:
  /// One Adam step (β .9 and .999, ε 1e-8, bias-corrected) on every weight, down Σ weights · loss;
  /// weights [batch, length], the rest as for run.
  virtual void step(const float* residual, const int64_t* ids, const int64_t* mask,
                    const float* weights, int64_t batch, int64_t length, double learning_rate) = 0;
};

/// With the exported weights; what a step changes stays in this object. Throws Error as
/// load_loss_half.
std::unique_ptr<TrainableLossHalf> load_trainable_loss_half(const ModelFolder& folder);

}  // namespace assay::sae
