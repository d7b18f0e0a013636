// ReLU with an L1 penalty and free decoder norms (Conerly, Templeton, Bricken, Marcus, Henighan 2024, "Update on how we
// train SAEs", Anthropic, April):
//   pre = W_enc x + b_enc,  z = ReLU(pre),  x̂ = Σ z_j d_j + b_dec,  loss = ‖x − x̂‖² + λ Σ z_j ‖d_j‖
// Biases start at 0, decoder rows random with norm 0.1, encoder = decoder; λ rises over the first 5 % of the run; Adam
// with learning rate 5e-5. Their λ = 5 at E‖x‖ = √d is 5/√d at our scale.
#include <cmath>

#include "sae/variants/penalised.h"
#include "sae/variants/variants.h"

namespace assay::sae {

namespace {

class ReLU : public Penalised {
 public:
  explicit ReLU(const VariantOptions& o)
      : Penalised(o, {.centred = false, .unit_norm = false, .prefixes = {}}, 5 / std::sqrt(static_cast<double>(o.d_in)),
                  0.05) {}

  void initialise(Context& context, State& state, uint64_t seed, const Batch&) const override {
    Parameter &enc = state.at("W_enc"), &dec = state.at("W_dec");
    unit_rows(context, seed, {dec.value.data(), state.n, state.d_out});
    for (float& value : dec.value) value *= 0.1f;
    enc.value = dec.value;
    state.screen.refresh(context, state.encoder());
  }

 protected:
  double penalise(Context& context, State& state) override {
    const std::vector<float> norms = decoder_norms(context, state);
    const double each = weight(state) * row_weight();
    double sum = 0;
    std::vector<double> shrink(state.n);
    for (int64_t p = 0; p < codes_.row_offsets[batch_]; ++p) {
      if (!(codes_.values[p] > 0)) continue;
      const int32_t j = codes_.indices[p];
      d_values_[p] += static_cast<float>(each * norms[j]);
      shrink[j] += each * codes_.values[p];
      sum += static_cast<double>(codes_.values[p]) * norms[j];
    }
    dec_shrink_.assign(state.n, 0);
    for (int64_t j = 0; j < state.n; ++j) {
      if (norms[j] > 0) dec_shrink_[j] = static_cast<float>(shrink[j] / norms[j]);
    }
    return each * sum;
  }
};

}  // namespace

const VariantEntry kReLU{"relu",
                         [](const VariantOptions& o) -> std::unique_ptr<Variant> { return std::make_unique<ReLU>(o); },
                         [](int64_t) { return 5e-5; },
                         0.9,
                         0.999,
                         1e-8,
                         0};

}  // namespace assay::sae
