// The whole optimiser step of a TopK autoencoder with AuxK, on a device: parameters, moments and
// codes live there, and nothing inside a step waits for it. The mathematics is sae/variant.h's with
// one reconstruction, centred, decoder rows on the unit sphere; free of torch and HDF5.
//
//   pre = W_enc (x − b_dec) + b_enc,  z = ReLU(top_k(pre)),  x̂ = Σ z_j d_j + b_dec
//   loss = mean_B ‖x − x̂‖² / variance + aux_coefficient · mean_B ‖r − r̂‖² / var_B(r)
//   r = x − x̂ (held fixed)
#pragma once

#include <cstdint>
#include <memory>

#include "kernels/base/view.h"

namespace assay {

struct TopKStepOptions {
  int64_t batch = 0, n = 0, d = 0, k = 0;
  int64_t aux_k = 0;
  double aux_coefficient = 0;
  int64_t dead_after = 0;  ///< tokens without firing
  double variance = 1;     ///< E‖x − mean‖² at the training scale
  double beta1 = 0.9, beta2 = 0.999, eps = 6.25e-10;
};

/// Throws UsageError where k or aux_k does not fit n, or the batch's pairs their counters.
void check_topk_step(const TopKStepOptions& options);

/// A parameter and its Adam moments on the host.
struct MovingParameter {
  float *value, *m, *v;
};

/// The state of training on the host, as sae::State holds it.
struct TopKHostState {
  MovingParameter w_enc, w_dec, b_enc, b_dec;  ///< [n, d], [n, d], [n], [d]
  int64_t* silent;                             ///< [n] tokens since each latent last fired
  int64_t step;                                ///< optimiser steps taken
};

/// Means over the steps since the last report, and the last step's dead latents.
struct TopKStepReport {
  int64_t steps = 0;
  double loss = 0, fvu = 0, aux_loss = 0, l0 = 0;
  int64_t dead = 0;
  /// The first step whose batch was not finite, and the row; −1 where there was none. From there on
  /// no step has changed anything.
  int64_t bad_step = -1, bad_row = -1;
};

/// A step on the CUDA device of this process. Deterministic: the same bits from run to run.
class DeviceTopKStep {
 public:
  /// Throws UsageError where the build has no CUDA or the machine no device, or as check_topk_step
  /// does; Error where the device fails or its memory does not suffice.
  explicit DeviceTopKStep(const TopKStepOptions& options);
  ~DeviceTopKStep();

  void upload(const TopKHostState& state);
  /// Waits for the steps so far. Gives the number of steps taken.
  int64_t download(const TopKHostState& state);
  /// Where the next batch [batch, d] is written: one of two pinned buffers.
  Matrix input();
  /// Queues the step on what stands in input(), which is then the next one's.
  void run(double lr);
  /// Waits for the steps so far, and starts the sums afresh.
  TopKStepReport report();

 private:
  struct Body;
  std::unique_ptr<Body> body_;
};

}  // namespace assay
