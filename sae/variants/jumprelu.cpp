// JumpReLU (Rajamanoharan et al. 2024, "Jumping ahead", arXiv 2407.14435):
//   pre = W_enc x + b_enc,  z = pre·1[pre > θ],  x̂ = Σ z_j d_j + b_dec
//   loss = ‖x − x̂‖² + λ·L0  or  ‖x − x̂‖² + λ (L0/k − 1)², L0 the batch's mean
// (their section 5 and appendix; sparsity_loss: l0 or target).
// θ gets its gradient through straight-through estimators with a rectangle of width ε, on pre:
//   ∂z/∂θ = −(θ/ε)·1[|pre − θ| < ε/2],  ∂L0/∂θ = −(1/ε)·1[|pre − θ| < ε/2]
// θ₀ = ε = 0.001 at E‖x‖² = 1, Adam β (0, 0.999), eps 1e-8, unit decoder rows, biases from 0; λ
// rising over the first 2000 steps of a long run, 10 % of a short one. θ itself is the parameter,
// not its logarithm, as in dictionary_learning; it is kept ≥ 0. Ours:
//   beyond L0 = 2k the penalty goes on as its tangent, λ (2 L0/k − 3). Half of all latents are
//   active at first, and the square's slope is then n/k times what it is near the target; Adam's
//   averaged square forgets that by e^(−t/2000) a step in the root, so θ crept and L0 stayed high.
//   learning rate 2e-4/√(n/2¹⁴), TopK's (the source: 7e-5, for runs many times longer): θ moves by
//   about that much a step and has some tenths to go.
//   λ = 4 where the penalty aims at k (1 else): at 1 the error pulls L0 over a small target by 10
//   %.
#include <algorithm>
#include <cmath>

#include "kernels/sparse_backward.h"
#include "sae/variants/penalised.h"
#include "sae/variants/variants.h"

namespace assay::sae {

namespace {

constexpr float kTheta = 0.001f, kBand = 0.001f;
constexpr double kAiming = 4;  // λ of the penalty that aims at k

class JumpReLU : public Penalised {
 public:
  explicit JumpReLU(const VariantOptions& o)
      : Penalised(o, {.centred = false, .unit_norm = true, .prefixes = {}},
                  o.model.sparsity_loss == "target" ? kAiming : 1,
                  std::min(0.1, 2000 / static_cast<double>(o.train.steps))) {
    band_ = kBand;
  }

  Shapes own_parameters() const override { return {{"threshold", {options_.model.n}}}; }

  double target_l0() const override { return aims() ? options_.model.k : 0; }

  void initialise(Context& context, State& state, uint64_t seed, const Batch&) const override {
    unit_rows(context, seed, {state.at("W_dec").value.data(), state.n, state.d_out});
    state.at("W_enc").value = state.at("W_dec").value;
    std::fill(state.at("threshold").value.begin(), state.at("threshold").value.end(), kTheta);
    state.screen.refresh(context, state.encoder());
  }

 protected:
  std::vector<float> thresholds(const State& state) const override {
    return state.at("threshold").value;
  }

  double penalise(Context& context, State& state) override {
    const double l0 = static_cast<double>(std::count_if(codes_.values.begin(),
                                                        codes_.values.begin() + main_pairs(),
                                                        [](float v) { return v > 0; })) /
                      static_cast<double>(batch_);
    const auto target = options_.model.k;
    const double over = l0 / target - 1, each = weight(state) / options_.variance;
    // ∂penalty/∂(one pair's step): L0 is the batch's mean.
    const double pull = 2 * std::min(over, 1.0) / target;
    const double slope = each * (aims() ? pull : 1) / static_cast<double>(batch_);
    differentiate_threshold(context, state, slope);
    return each * (!aims() ? l0 : over > 1 ? 2 * over - 1 : over * over);
  }

  void step_own(Context& context, State& state, const AdamStep& adam) override {
    Parameter& theta = state.at("threshold");
    adapt(context, theta, d_theta_, adam);
    for (float& value : theta.value) value = std::max(value, 0.0f);
  }

 private:
  bool aims() const { return options_.model.sparsity_loss == "target"; }
  int64_t main_pairs() const { return codes_.row_offsets[batch_]; }

  void differentiate_threshold(Context& context, const State& state, double slope) {
    const std::vector<float>& theta = state.at("threshold").value;
    std::vector<float> outside;  // ∂/∂z of the pairs near their threshold
    SparseCodes near;            // every value 1: value_gradient leaves out what is not positive
    for (int64_t i = 0; i < batch_; ++i) {
      for (int64_t p = codes_.row_offsets[i]; p < codes_.row_offsets[i + 1]; ++p) {
        if (!(std::abs(pre_[p] - theta[codes_.indices[p]]) < kBand / 2)) continue;
        near.indices.push_back(codes_.indices[p]);
        near.values.push_back(1);
        outside.push_back(outside_.d_codes.empty() ? 0 : outside_.d_codes[p]);
      }
      near.row_offsets.push_back(static_cast<int64_t>(near.indices.size()));
    }
    std::vector<float> each;
    value_gradient(context, near, {gradient_.data(), batch_, options_.d_out}, state.decoder(),
                   each);
    for (int64_t p = 0; p < near.pairs(); ++p) {
      each[p] =
          -(theta[near.indices[p]] * (each[p] + outside[p]) + static_cast<float>(slope)) / kBand;
    }
    sum_by_latent(near, each, state.n, d_theta_);
  }

  std::vector<float> d_theta_;
};

}  // namespace

const VariantEntry kJumpReLU{
    .name = "jumprelu",
    .make = make_as<JumpReLU>,
    .learning_rate = topk_learning_rate,
    .beta1 = 0,
    .eps = 1e-8,
    .aux_coefficient = 0,
    .governs = Governs::both,
    .freezes = true,
};

}  // namespace assay::sae
