// What the variants with a sparsity penalty share: z = pre·1[pre > θ], and the penalty's warm-up.
#pragma once

#include "sae/variant.h"

namespace assay::sae {

class Penalised : public Variant {
 public:
  /// `sparsity` and `warmup` (a share of the run) are the variant's defaults, which the
  /// configuration may replace.
  Penalised(const VariantOptions& options, Geometry geometry, double sparsity, double warmup);

  /// Its k is the running mean of L0, rounded.
  Dictionary dictionary(const State& state) const override;
  /// Half of all latents are active at the start.
  int64_t pairs_a_row() const override { return options_.model.n / 2; }

 protected:
  void encode(Context& context, State& state, NumericFlag& flag) override;
  /// θ_j ≥ 0 of every latent.
  virtual std::vector<float> thresholds(const State& state) const {
    return std::vector<float>(state.n);
  }
  /// The penalty's weight at this step of the run.
  double weight(const State& state) const;
  double penalty_weight(const State& state) const override { return weight(state); }

  float band_ = 0;  ///< pairs with |pre − θ| < band/2 are in codes_ too, inactive ones as 0
  std::vector<float> pre_;  ///< of the pairs that encode gave

 private:
  double sparsity_, warmup_;
};

}  // namespace assay::sae
