// One optimiser step of any variant on the sparse path. A variant says how a batch is encoded and
// what it adds to the loss; centring, decoding, AuxK, the backward pass and Adam are said once,
// here. All at the training scale (E‖x‖² = 1).
//
//   pre = W_enc (x − b_dec) + b_enc,  z = the variant's choice among pre
//   x̂ = Σ z_j d_j + b_dec (+ W_skip x)
//   loss = Σ_γ weight_γ · mean_B ‖y − x̂_γ‖² / variance     γ: nested reconstructions (usually one)
//        + aux_coefficient · mean_B ‖r − r̂‖² / var_B(r)    r = y − x̂ (held fixed)
//        + the variant's penalty                           r̂ = Σ over the top aux_k dead latents
// The AuxK term (Gao et al. 2024, "Scaling and evaluating sparse autoencoders", A.2) is 0 when no
// latent is dead. It has no bias and gives the encoder its gradient too, on active pairs.
//
// Nested reconstructions (Matryoshka's prefixes, Multi-TopK's two k): the pairs of the batch are
// laid out group after group, row γ·B + i holding row i's pairs of group γ; x̂_γ sums groups 0…γ,
// and a group's gradient is the sum over the reconstructions it is part of. Then one backward pass
// serves all, as it serves AuxK's rows behind them.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "kernels/base/context.h"
#include "kernels/base/numeric_flag.h"
#include "kernels/base/view.h"
#include "kernels/encode_topk.h"
#include "kernels/primitives.h"
#include "kernels/sparse_codes.h"
#include "sae/dictionary.h"
#include "sae/outside_loss.h"
#include "sae/state.h"
#include "sae/train_config.h"

namespace assay::sae {

struct VariantOptions {
  ModelConfig model;
  TrainConfig train;  ///< resolved: see with_defaults
  int64_t d_in = 0, d_out = 0;
  double variance = 1;  ///< E‖y − mean‖² at the training scale
  /// Ends of the hooks' columns in x, rising to d_in, of a crosscoder; else empty.
  std::vector<int64_t> hooks = {};
};

/// What a variant's reconstruction is made of.
struct Geometry {
  bool centred = true;    ///< encode x − b_dec rather than x
  bool unit_norm = true;  ///< decoder rows stay on the unit sphere
  bool tied = false;      ///< W_enc is a copy of W_dec
  /// ends of the nested groups of latents, the last one n; empty: one group
  std::vector<int64_t> prefixes;
};

struct Batch {
  ConstMatrix x;  ///< [B, d_in] what is encoded
  ConstMatrix y;  ///< [B, d_out] what is reconstructed; an autoencoder's x
};

struct StepReport {
  double loss = 0;      ///< what is minimised
  double penalty = 0;   ///< the variant's sparsity penalty within it
  double sparsity = 0;  ///< the penalty's weight λ at this step; 0: there is no such penalty
  double fvu = 0;       ///< mean squared error over the stored variance
  double aux_loss = 0;  ///< normalised, before its coefficient
  double l0 = 0;        ///< mean count of values > 0
  int64_t dead = 0;
  double outside = 0;  ///< an outside loss within it, as weighted
};

using Shapes = std::map<std::string, std::vector<int64_t>>;

class Variant {
 public:
  explicit Variant(VariantOptions options, Geometry geometry = {});
  virtual ~Variant() = default;
  Variant(const Variant&) = delete;
  Variant& operator=(const Variant&) = delete;

  /// Parameters besides the common four (see State).
  virtual Shapes own_parameters() const { return {}; }
  /// All parameters, zero.
  virtual State create() const;
  /// Decoder rows uniform on the sphere, encoder = decoder, b_dec = the geometric median of the
  /// sample's y.
  virtual void initialise(Context& context, State& state, uint64_t seed, const Batch& sample) const;

  /// One forward, backward and Adam step. Where a row is not finite `flag` is raised and the
  /// parameters are left as they were. Deterministic: the same bits on any number of threads and
  /// any instruction set. Any B; buffers grow to it. `outside`, where not null, is asked for its
  /// gradient once codes and reconstructions stand.
  virtual StepReport step(Context& context, State& state, const Batch& batch, double lr,
                          NumericFlag& flag, OutsideLoss* outside = nullptr);

  /// Settle what the published dictionary needs from rows of the validation split (a threshold),
  /// where needs_validation().
  virtual void calibrate(Context&, State&, ConstMatrix) const {}
  virtual bool needs_validation() const { return false; }

  /// What is published, still at the training scale; the caller fills in where the data came from.
  virtual Dictionary dictionary(const State& state) const;

  /// The codes of the last batch (for tests): group after group, AuxK's rows behind them where any
  /// latent was dead.
  const SparseCodes& codes() const { return codes_; }
  const VariantOptions& options() const { return options_; }
  const Geometry& geometry() const { return geometry_; }
  /// Nested reconstructions.
  int64_t groups() const { return static_cast<int64_t>(weights_.size()); }
  /// The L0 that a penalty aims at; 0 where none does.
  virtual double target_l0() const { return 0; }
  /// Pairs of a row that a step holds where they are most, about; AuxK's apart.
  virtual int64_t pairs_a_row() const { return options_.model.row_k(); }

 protected:
  /// Fill codes_ (B rows, values after the activation function) from centred().
  virtual void encode(Context& context, State& state, NumericFlag& flag) = 0;
  /// Lay codes_ out group after group. The default cuts at the prefixes.
  virtual void split();
  /// Add to the reconstructions [B, d_out] of the first group what does not pass through the
  /// latents.
  virtual void bypass(Context&, const State&, Matrix) const {}
  /// What multiplies a pre-activation [n] where latents are ranked against one another; empty:
  /// nothing does.
  virtual std::vector<float> rank_scale(Context&, const State&) const { return {}; }
  /// Append rows of an auxiliary loss. The default is AuxK, where any latent is dead.
  virtual void auxiliary(Context& context, const State& state, StepReport& report,
                         NumericFlag& flag);
  /// Add the penalty's part to d_values_ (∂L/∂value of every pair, the reconstruction's already
  /// there), and where the variant needs it dec_values_, d_bias_, dec_shrink_. Returns the penalty.
  /// Sees the weights before the step.
  virtual double penalise(Context&, State&) { return 0; }
  /// λ of the step to come; 0 where L0 does not follow from a penalty.
  virtual double penalty_weight(const State&) const { return 0; }
  /// The backward pass from gradient_, and the step of every parameter.
  virtual void update(Context& context, State& state, double lr, StepReport& report);
  AdamStep adam_step(const State& state, double lr) const;
  /// Step the variant's own parameters and numbers.
  virtual void step_own(Context&, State&, const AdamStep&) {}

  ConstMatrix centred() const { return {centred_.data(), batch_, options_.d_in}; }
  Encoder encoder(const State& state) const {
    return {state.encoder(), state.encoder_bias(), &state.screen};
  }
  /// Adam on a whole parameter.
  void adapt(Context& context, Parameter& parameter, const std::vector<float>& gradient,
             const AdamStep& adam) const;
  /// Append B rows of codes; they share the batch's inputs.
  void append_rows(const SparseCodes& codes);
  /// ‖d_j‖ of every latent, or of every latent and hook [n, hooks] where there are several.
  std::vector<float> decoder_norms(Context& context, const State& state) const;
  /// What one row's error is multiplied with in the loss: 1 / (B · variance). Penalties share it.
  double row_weight() const { return 1 / (static_cast<double>(batch_) * options_.variance); }

  VariantOptions options_;
  Geometry geometry_;
  std::vector<double> weights_{1};  ///< of the nested reconstructions
  /// the reconstruction that FVU, firing and AuxK's residual mean
  int64_t reported_ = 0;
  int64_t batch_ = 0;   ///< B of this step
  ConstMatrix target_;  ///< y of this step

  SparseCodes codes_;
  std::vector<float> centred_;   // [B, d_in]: x − b_dec
  std::vector<float> gradient_;  // [rows of codes_, d_out]: ∂L/∂x̂ of each row
  std::vector<float> residual_;  // [B, d_out]
  std::vector<float> d_values_;  // [pairs]
  // Where not empty: the pairs' weights in dW_dec and db_enc, and what adds to dW_dec (see
  // BackwardInput). Emptied by every step.
  std::vector<float> dec_values_, d_bias_, dec_shrink_;
  OutsideGradient outside_;  // of this step
  std::vector<float> axes_;  // the decoder's start, where a soft freeze needs it
  std::vector<int32_t> dead_;

 private:
  void centre(Context& context, const State& state, ConstMatrix x);
  void reconstruct(Context& context, const State& state, StepReport& report, NumericFlag& flag);
  void ask(Context& context, OutsideLoss& outside, StepReport& report);
  void nest(int64_t i, const float* bias);
  double differentiate(const Primitives& p, int64_t i, const float* y, double& reported);
  void count_firing(State& state, StepReport& report);
  double residual_variance(Context& context) const;

  std::vector<double> row_loss_;  // [B]
};

}  // namespace assay::sae
