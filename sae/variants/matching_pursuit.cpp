// MP-SAE (Costa, Fel, Lubana, Tolooshams, Ba 2025, "From flat to hierarchical: extracting sparse
// representations with matching pursuit", arXiv 2506.03093): the encoder is matching pursuit in the
// decoder itself, unrolled.
//   r_0 = x − b_dec;  k times: j = argmax ⟨d_j, r⟩, c = ReLU⟨d_j, r⟩, r ← r − c·d_j
//   x̂ = b_dec + Σ c·d_j
//   loss = ‖r_k‖²
// Unit decoder rows; the gradient passes through all k steps, each j held fixed. A latent may be
// chosen again: then L0 < k. Backwards, with g = ∂L/∂r after a step and s = ⟨d_j, g⟩:
//   ∂L/∂d_j −= c·g + s·r,  g ← g − s·d_j          (r before the step)
// The gradient of all rows is summed in a buffer of W_dec's size. W_enc is a copy of W_dec, b_enc
// stays 0. There is no AuxK in the source, nor here. Adam with TopK's learning rate, which is ours.
#include <cmath>

#include "kernels/base/error.h"
#include "kernels/sparse_backward.h"
#include "sae/blocks.h"
#include "sae/pursuit.h"
#include "sae/variants/variants.h"

namespace assay::sae {

namespace {

class MatchingPursuit : public Variant {
 public:
  explicit MatchingPursuit(const VariantOptions& o)
      : Variant(o, {.centred = true, .unit_norm = true, .tied = true, .prefixes = {}}) {
    if (o.train.aux_coefficient > 0) {
      throw UsageError(
          "train.aux_coefficient: matching_pursuit has no AuxK loss; leave it at -1 or set it to "
          "0");
    }
    if (o.train.optimizer_state != "fp32") {
      throw UsageError(
          "train.optimizer_state: matching_pursuit keeps its moments in fp32; set it to fp32");
    }
  }

  Dictionary dictionary(const State& state) const override {
    Dictionary result = Variant::dictionary(state);
    result.info.encoding = "matching_pursuit";
    result.w_enc = result.w_dec;
    return result;
  }

 protected:
  void encode(Context& context, State& state, NumericFlag& flag) override {
    pursue(context, centred(), encoder(state), state.decoder(), options_.model.row_k(), pursuit_,
           codes_, flag);
  }

  void update(Context& context, State& state, double lr, StepReport&) override {
    if (!outside_.d_codes.empty()) {
      throw UsageError(
          "matching_pursuit takes no gradient by its codes from outside; choose another variant");
    }
    differentiate(context, state);
    const Primitives& p = primitives(context.isa());
    const AdamStep adam = adam_step(state, lr);
    std::vector<double> squares(state.n);
    const int64_t d = state.d_in;
    parallel_for(context, state.n, [&](int64_t j) {
      const float* row = state.decoder().row(j);
      float* gradient = d_decoder_.data() + j * d;
      p.axpy(-p.dot(gradient, row, d), row, gradient, d);
      squares[j] = p.dot(gradient, gradient, d);
    });
    std::vector<float> d_bias(d);
    column_sums(context, {d_residual_.data(), batch_, d}, d_bias.data());
    const float scale = -clip(squares, d_bias);
    p.scale(scale, d_bias.data(), d);  // r_0 = x − b_dec
    adapt(context, state.at("b_dec"), d_bias, adam);
    step_decoder(context, state, adam, -scale);
    ++state.step;
  }

 private:
  /// ∂L/∂W_dec into d_decoder_, ∂L/∂r_0 into d_residual_, from the last step to the first. r is
  /// rebuilt on the way.
  void differentiate(Context& context, const State& state) {
    const Primitives& p = primitives(context.isa());
    const int64_t d = state.d_in;
    d_decoder_.assign(state.n * d, 0);
    d_residual_ = gradient_;
    p.scale(-1, d_residual_.data(), batch_ * d);
    const Matrix g(d_residual_.data(), batch_, d), r(pursuit_.residual.data(), batch_, d);
    SparseCodes step;
    std::vector<float> along(batch_);
    for (int64_t t = options_.model.row_k() - 1; t >= 0; --t) {
      const auto first = t * batch_;
      step.row_offsets.resize(batch_ + 1);
      for (int64_t i = 0; i <= batch_; ++i) step.row_offsets[i] = i;
      step.indices.assign(pursuit_.latents.begin() + first,
                          pursuit_.latents.begin() + first + batch_);
      step.values.assign(pursuit_.values.begin() + first, pursuit_.values.begin() + first + batch_);
      value_gradient(context, step, g, state.decoder(), along);
      parallel_for(context, batch_, [&](int64_t i) {
        p.axpy(step.values[i], state.decoder().row(step.indices[i]), r.row(i), d);
      });
      PairsByLatent order;
      sort_by_latent(context, step, state.n, step.values.data(), nullptr, order);
      parallel_for(context, state.n, [&](int64_t j) {
        for (int64_t o = order.offsets[j]; o < order.offsets[j + 1]; ++o) {
          const int32_t i = order.rows[o];
          p.axpy(-step.values[i], g.row(i), d_decoder_.data() + j * d, d);
          p.axpy(-along[i], r.row(i), d_decoder_.data() + j * d, d);
        }
      });
      parallel_for(context, batch_, [&](int64_t i) {
        p.axpy(-along[i], state.decoder().row(step.indices[i]), g.row(i), d);
      });
    }
  }

  /// train.clip_norm's factor.
  float clip(const std::vector<double>& squares, const std::vector<float>& d_bias) const {
    if (!(options_.train.clip_norm > 0)) return 1;
    double sum = 0;
    for (const double square : squares) sum += square;
    for (const float value : d_bias) sum += static_cast<double>(value) * value;
    const double norm = std::sqrt(sum);
    return norm > options_.train.clip_norm ? static_cast<float>(options_.train.clip_norm / norm)
                                           : 1.0f;
  }

  void step_decoder(Context& context, State& state, const AdamStep& adam, float scale) {
    const Primitives& p = primitives(context.isa());
    Parameter& dec = state.at("W_dec");
    const int64_t d = state.d_in;
    parallel_for(context, state.n, [&](int64_t j) {
      float* row = dec.value.data() + j * d;
      p.scale(scale, d_decoder_.data() + j * d, d);
      p.adam(adam, d_decoder_.data() + j * d, row, dec.m.data() + j * d, dec.v.data() + j * d, d);
      p.scale(1 / std::sqrt(p.dot(row, row, d)), row, d);
    });
    state.at("W_enc").value = dec.value;
    state.screen.refresh(context, state.encoder());
  }

  Pursuit pursuit_;
  std::vector<float> d_decoder_, d_residual_;
};

}  // namespace

const VariantEntry kMatchingPursuit{
    .name = "matching_pursuit",
    .make = make_as<MatchingPursuit>,
    .learning_rate = topk_learning_rate,
    .aux_coefficient = 0,
};

}  // namespace assay::sae
