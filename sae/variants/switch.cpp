// Switch (Mudide, Engels, Michaud, Tegmark, Schroeder de Witt 2025, "Efficient dictionary learning
// with Switch sparse autoencoders", arXiv 2410.08201): n latents in E experts; a router picks one
// for each row, which alone is encoded.
//   p = softmax(W_r (√d·x − b_r)),  e* = argmax p
//   z = TopK over expert e* of ReLU(W_enc (x − b_dec) + b_enc)
//   x̂ = p_e* Σ z_j d_j + b_dec,  loss = ‖x − x̂‖² / variance + α·E·Σ_e f_e P_e
// f_e is the share of the batch's rows that go to e (no gradient), P_e the batch's mean of p_e: the
// load-balancing term of Switch Transformers (Fedus et al. 2021), at least 1 where all experts
// share alike. No AuxK, b_r and b_dec from the geometric median, decoder rows of unit length,
// learning rate of the TopK family: the authors' (their code's learning rate; its clipping of
// gradients to norm 1 is train.clip_norm). Ours: a bias b_enc, encoder = decoder at the start,
// router rows that start on the unit sphere, and two scales, since theirs are those of raw GPT-2
// activations:
//   * The router reads √d·x, whose coordinates are about 1 in square. Adam moves every weight by
//     about the learning rate, so a router that reads x itself (coordinates 1/d in square) moves
//     its logits √d times less a step than theirs, and hardly learns.
//   * α = 0.1 of the variance (theirs: 3 in the paper, 0.01·d in the code, beside the raw squared
//     error).
// Published codes carry p_e*·z; √d and W_r (√d·b_dec − b_r) are folded into the router and a bias.
#include <fmt/core.h>

#include <algorithm>
#include <cmath>

#include "kernels/base/error.h"
#include "kernels/primitives.h"
#include "sae/blocks.h"
#include "sae/route.h"
#include "sae/variants/variants.h"

namespace assay::sae {

namespace {

constexpr uint64_t kRouterDraws = 0x726f757465;  // separates the uses of the seed

class Switch : public Variant {
 public:
  explicit Switch(const VariantOptions& options)
      : Variant(options),
        experts_(options.model.experts),
        scale_(std::sqrt(static_cast<float>(options.d_in))) {
    const ModelConfig& model = options.model;
    if (model.n % experts_ != 0) {
      throw UsageError(fmt::format(
          "model.experts = {} does not divide model.n = {}: make n a multiple", experts_, model.n));
    }
    if (model.row_k() > model.n / experts_) {
      throw UsageError(fmt::format(
          "model.k = {} is larger than an expert's n / experts = {}: lower k or experts", model.k,
          model.n / experts_));
    }
    if (options.d_in != options.d_out)
      throw UsageError("model.variant = switch reconstructs what it encodes");
  }

  Shapes own_parameters() const override {
    return {{"router", {experts_, options_.d_in}}, {"b_router", {options_.d_in}}};
  }

  void initialise(Context& context, State& state, uint64_t seed,
                  const Batch& sample) const override {
    Variant::initialise(context, state, seed, sample);
    std::vector<float>& router = state.at("router").value;
    unit_rows(context, seed ^ kRouterDraws, {router.data(), experts_, options_.d_in});
    state.at("b_router").value = state.at("b_dec").value;
    for (float& value : state.at("b_router").value) value *= scale_;
  }

  Dictionary dictionary(const State& state) const override {
    Dictionary result = Variant::dictionary(state);
    result.info.encoding = "switch";
    result.extra["router"] = {{experts_, options_.d_in}, scaled_router(state)};
    result.extra["router_bias"] = {{experts_}, router_bias(state)};
    return result;
  }

 protected:
  void encode(Context& context, State& state, NumericFlag& flag) override {
    const std::vector<float> scaled = scaled_router(state), bias = router_bias(state);
    routes_ =
        route(context, centred(), {{scaled.data(), experts_, options_.d_in}, bias.data()}, flag);
    if (flag.raised()) return;
    encode_routed(context, centred(), state.encoder(), state.encoder_bias(), routes_,
                  options_.model.row_k(), codes_, flag);
  }

  /// The router's gradients, through p_e* and the balance; the pairs' through p_e*.
  double penalise(Context& context, State& state) override {
    const std::vector<double> share = shares();
    const double each = options_.model.balance * static_cast<double>(experts_);
    double balance = 0;
    for (int64_t i = 0; i < batch_; ++i) {
      for (int64_t e = 0; e < experts_; ++e)
        balance += share[e] * routes_.probabilities[i * experts_ + e];
    }
    d_logits_.resize(batch_ * experts_);
    parallel_for(context, batch_, [&](int64_t i) {
      const float* p = routes_.probabilities.data() + i * experts_;
      const int32_t chosen = routes_.expert[i];
      double d_chosen = 0;  // the codes are p·z
      for (int64_t pair = codes_.row_offsets[i]; pair < codes_.row_offsets[i + 1]; ++pair) {
        d_chosen += static_cast<double>(d_values_[pair]) * codes_.values[pair] / p[chosen];
        d_values_[pair] *= p[chosen];
      }
      const auto d_probability = [&](int64_t e) {
        return each * share[e] / static_cast<double>(batch_) + (e == chosen ? d_chosen : 0);
      };
      double mean = 0;
      for (int64_t e = 0; e < experts_; ++e) mean += p[e] * d_probability(e);
      for (int64_t e = 0; e < experts_; ++e) {
        d_logits_[i * experts_ + e] = static_cast<float>(p[e] * (d_probability(e) - mean));
      }
    });
    differentiate_router(context, state);
    return each * balance / static_cast<double>(batch_);
  }

  void step_own(Context& context, State& state, const AdamStep& adam) override {
    adapt(context, state.at("router"), d_router_, adam);
    adapt(context, state.at("b_router"), d_b_router_, adam);
  }

 private:
  ConstMatrix router(const State& state) const {
    return {state.at("router").value.data(), experts_, options_.d_in};
  }

  /// What multiplies x − b_dec.
  std::vector<float> scaled_router(const State& state) const {
    std::vector<float> scaled = state.at("router").value;
    for (float& value : scaled) value *= scale_;
    return scaled;
  }

  /// What turns the logits of √d (x − b_dec) into those of √d·x − b_router. On one instruction set
  /// or another: scalar sums.
  std::vector<float> router_bias(const State& state) const {
    std::vector<float> bias(experts_);
    for (int64_t e = 0; e < experts_; ++e) {
      double sum = 0;
      for (int64_t c = 0; c < options_.d_in; ++c) sum += router(state).row(e)[c] * offset(state, c);
      bias[e] = static_cast<float>(sum);
    }
    return bias;
  }

  double offset(const State& state, int64_t c) const {
    return static_cast<double>(scale_) * state.decoder_bias()[c] - state.at("b_router").value[c];
  }

  /// f: the share of the batch's rows of each expert.
  std::vector<double> shares() const {
    std::vector<double> share(experts_);
    for (const int32_t e : routes_.expert) share[e] += 1 / static_cast<double>(batch_);
    return share;
  }

  void differentiate_router(Context& context, const State& state) {
    const int64_t d = options_.d_in;
    const Primitives& p = primitives(context.isa());
    d_router_.assign(experts_ * d, 0);
    d_b_router_.assign(d, 0);
    std::vector<double> sums(experts_);
    context.pool().run(experts_, [&](int64_t e, int) {
      float* row = d_router_.data() + e * d;
      for (int64_t i = 0; i < batch_; ++i) {
        const float weight = d_logits_[i * experts_ + e];
        sums[e] += weight;
        p.axpy(weight * scale_, centred().row(i), row, d);
      }
      for (int64_t c = 0; c < d; ++c) row[c] += static_cast<float>(sums[e] * offset(state, c));
    });
    for (int64_t e = 0; e < experts_; ++e) {
      p.axpy(static_cast<float>(-sums[e]), router(state).row(e), d_b_router_.data(), d);
    }
  }

  int64_t experts_;
  float scale_;  // √d
  Routes routes_;
  std::vector<float> d_logits_;  // [B, E]
  std::vector<float> d_router_, d_b_router_;
};

}  // namespace

const VariantEntry kSwitch{
    .name = "switch",
    .make = make_as<Switch>,
    .learning_rate = topk_learning_rate,
    .eps = 1e-8,
    .aux_coefficient = 0,
    .routed = true,
};

}  // namespace assay::sae
