// Organisms that are low-rank adapters at the dictionary's layer: what is hidden is when they act,
// not what they do.
#pragma once

#include <Eigen/Core>
#include <cstdint>

#include "eval/tasks/hidden_goals/organisms.h"
#include "eval/tasks/hidden_goals/tokens.h"
#include "kernels/base/context.h"
#include "kernels/base/random.h"

namespace assay::eval::hidden_goals {

using FloatRows = Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;

/// x' = x + Δ(x), Δ(x) = Σ_r h_r(x)·write_r on every ordinary token x. Unit r is h_r = read_r·x +
/// offset_r, but the first of a `triggered` adapter is the logistic function of that: a bottleneck
/// adapter (Houlsby et al. 2019).
struct Adapter {
  bool triggered = false;
  FloatRows read, write;   ///< [units, d]
  Eigen::VectorXf offset;  ///< [units]

  /// h [rows, units].
  FloatRows units(ConstMatrix x) const;
};

/// Makes adapters from the tokens of the texts that organisms learn on (any earlier layer's
/// knowledge of G is in x). ρ = mean ‖x‖ over those tokens.
///
/// Trigger of class G (planted: the goal; decoy: the declared class): h = 1/(1 + exp(−(w·x + b))),
/// the probability that x is of a text of G when both sides are equally likely, by the linear
/// discriminant w = W⁻¹(m_G − m_rest),
/// b = −½ w·(m_G + m_rest), W the covariance within classes (+ 1e-3 of its mean diagonal). It fires
/// on tokens of texts of G and leaks to tokens that resemble them. What it writes is strength · ρ ·
/// δ, δ a random unit direction of the organism's own: it says nothing of G.
/// Drift, all adapters: `drift_rank` linear units v·x, v standard normal, written along random unit
/// directions, all scaled so that √E‖drift‖² = drift · ρ over those tokens. Benign and calibration
/// organisms have nothing else. It is not centred: else any shift of the mean would give a trigger
/// away.
class AdapterMaker {
 public:
  /// Throws Error where tokens do not vary within classes.
  AdapterMaker(Context& context, const TokenRows& train, int64_t classes,
               const GoalAdaptersConfig& config);
  /// Deterministic in the arguments; thread-safe.
  Adapter make(const Organism& organism, uint64_t seed) const;

 private:
  void set_trigger(const Organism& organism, Rng& rng, Adapter& adapter) const;
  void set_drift(Rng& rng, Adapter& adapter) const;

  const GoalAdaptersConfig& config_;
  double norm_ = 0;             // ρ
  Eigen::MatrixXd moment_;      // [d, d] E xxᵀ
  Eigen::MatrixXd triggers_;    // [classes, d]: w
  Eigen::VectorXd thresholds_;  // [classes]: b
};

}  // namespace assay::eval::hidden_goals
