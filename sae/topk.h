// TopK with AuxK (Gao et al. 2024, "Scaling and evaluating sparse autoencoders"): parameters, and one optimiser step
// on the sparse path. All at the training scale (E‖x‖² = 1).
//
//   pre = W_enc (x − b_dec) + b_enc,  z = ReLU(top_k(pre)),  x̂ = Σ z_j d_j + b_dec
//   loss = mean_B ‖x − x̂‖² / variance
//        + aux_coefficient · mean_B ‖r − r̂‖² / var_B(r),  r = x − x̂ (held fixed), r̂ = Σ over the top aux_k dead latents
// The AuxK term is 0 when no latent is dead. It has no bias and gives the encoder its gradient too, on active pairs.
#pragma once

#include <cstdint>
#include <vector>

#include "kernels/context.h"
#include "kernels/encode_topk.h"
#include "kernels/primitives.h"
#include "kernels/screen_copy.h"
#include "kernels/sparse_codes.h"
#include "kernels/view.h"

namespace assay::sae {

/// A parameter and its Adam moments.
struct Parameter {
  std::vector<float> value, m, v;
  explicit Parameter(int64_t count = 0) : value(count), m(count), v(count) {}
};

struct TopKState {
  int64_t n = 0, d = 0;
  Parameter w_enc, w_dec, b_enc, b_dec;  ///< [n, d], [n, d], [n], [d]
  std::vector<int64_t> silent;           ///< [n] tokens since each latent last fired
  int64_t step = 0;                      ///< optimiser steps taken
  ScreenCopy screen;                     ///< of w_enc

  TopKState(int64_t n_, int64_t d_);
  ConstMatrix encoder() const { return {w_enc.value.data(), n, d}; }
  ConstMatrix decoder() const { return {w_dec.value.data(), n, d}; }
};

/// Decoder rows uniform on the sphere, encoder = decoder, biases zero but b_dec, which the caller sets.
void initialise(Context& context, TopKState& state, uint64_t seed);

/// The geometric median of the rows of x [B, d] by Weiszfeld's iteration (to 1e-6 relative movement, at most 200
/// rounds).
std::vector<float> geometric_median(ConstMatrix x);

struct TopKOptions {
  int64_t k = 0, aux_k = 0;
  double aux_coefficient = 0;
  int64_t dead_after = 0;  ///< tokens
  double variance = 1;     ///< E‖x − mean‖² at the training scale
  double beta1 = 0.9, beta2 = 0.999, eps = 6.25e-10;
};

struct StepReport {
  double loss = 0;      ///< what is minimised: fvu + aux_coefficient · aux_loss
  double fvu = 0;       ///< mean squared error over the stored variance
  double aux_loss = 0;  ///< normalised, before its coefficient
  double l0 = 0;        ///< mean count of values > 0
  int64_t dead = 0;
};

/// Holds the buffers of one batch size; they do not grow with n but for the sort's counts.
class TopKStep {
 public:
  TopKStep(const TopKOptions& options, int64_t batch, int64_t d);

  /// One forward, backward and Adam step on x [batch, d]. Where a row is not finite `flag` is raised and the
  /// parameters are left as they were. Deterministic: the same bits on any number of threads and any instruction set.
  StepReport run(Context& context, TopKState& state, ConstMatrix x, double lr, NumericFlag& flag);

  /// The codes of the last batch (for tests): AuxK's rows follow the batch's, where any latent was dead.
  const SparseCodes& codes() const { return codes_; }

 private:
  void residual(Context& context, const TopKState& state, ConstMatrix x, StepReport& report);
  void count_firing(TopKState& state, StepReport& report);
  void add_aux(Context& context, const TopKState& state, StepReport& report, NumericFlag& flag);
  void update(Context& context, TopKState& state, double lr);
  double residual_variance(Context& context) const;

  TopKOptions options_;
  int64_t batch_, d_;
  SparseCodes codes_, aux_codes_;
  std::vector<float> centred_;   // [2B, d]: x − b_dec, twice when AuxK runs
  std::vector<float> gradient_;  // [2B, d]: ∂L/∂x̂, then ∂L/∂r̂
  std::vector<float> residual_;  // [B, d]
  std::vector<double> row_loss_;
  std::vector<float> d_values_, column_;
  std::vector<int32_t> dead_;
  std::vector<char> fired_;
};

}  // namespace assay::sae
