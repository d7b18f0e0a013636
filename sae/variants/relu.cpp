// ReLU with an L1 penalty and free decoder norms (Conerly, Templeton, Bricken, Marcus, Henighan
// 2024, "Update on how we train SAEs", Anthropic, April):
//   pre = W_enc x + b_enc,  z = ReLU(pre),  x̂ = Σ z_j d_j + b_dec
//   loss = ‖x − x̂‖² + λ Σ z_j ‖d_j‖
// Biases start at 0, decoder rows random with norm 0.1, encoder = decoder; λ rises over the first 5
// % of the run; Adam with learning rate 5e-5. Their λ = 5 at E‖x‖ = √d is 5/√d at our scale.
#include "sae/variants/relu.h"

#include <cmath>

#include "kernels/primitives.h"
#include "sae/variants/variants.h"

namespace assay::sae {

ReLU::ReLU(const VariantOptions& o)
    : Penalised(o, {.centred = false, .unit_norm = false, .prefixes = {}},
                5 / std::sqrt(static_cast<double>(o.d_in)), 0.05) {}

void ReLU::initialise(Context& context, State& state, uint64_t seed, const Batch&) const {
  unit_rows_by_hook(context, seed, options_.hooks, 0.1f, state);
}

/// λ Σ_j z_j Σ_h ‖d_j,h‖ over the hooks h of a crosscoder, of which an autoencoder has one.
double ReLU::penalise(Context& context, State& state) {
  const std::vector<float> norms = decoder_norms(context, state);
  const auto hooks = static_cast<int64_t>(norms.size()) / state.n;
  std::vector<float> norm(state.n);
  for (size_t i = 0; i < norms.size(); ++i) norm[i / hooks] += norms[i];
  const double each = weight(state) * row_weight();
  double sum = 0;
  std::vector<double> shrink(state.n);
  for (int64_t p = 0; p < codes_.row_offsets[batch_]; ++p) {
    if (!(codes_.values[p] > 0)) continue;
    const int32_t j = codes_.indices[p];
    d_values_[p] += static_cast<float>(each * norm[j]);
    shrink[j] += each * codes_.values[p];
    sum += static_cast<double>(codes_.values[p]) * norm[j];
  }
  dec_shrink_.assign(norms.size(), 0);
  for (size_t i = 0; i < norms.size(); ++i) {
    if (norms[i] > 0) dec_shrink_[i] = static_cast<float>(shrink[i / hooks] / norms[i]);
  }
  return each * sum;
}

void unit_rows_by_hook(Context& context, uint64_t seed, const std::vector<int64_t>& hooks,
                       float norm, State& state) {
  Parameter& dec = state.at("W_dec");
  unit_rows(context, seed, {dec.value.data(), state.n, state.d_out});
  const Primitives& p = primitives(context.isa());
  for (int64_t j = 0; j < state.n; ++j) {
    float* row = dec.value.data() + j * state.d_out;
    if (hooks.empty()) p.scale(norm, row, state.d_out);
    int64_t first = 0;
    for (const int64_t end : hooks) {
      p.scale(norm / std::sqrt(p.dot(row + first, row + first, end - first)), row + first,
              end - first);
      first = end;
    }
  }
  state.at("W_enc").value = dec.value;
  state.screen.refresh(context, state.encoder());
}

const VariantEntry kReLU{
    .name = "relu",
    .make = make_as<ReLU>,
    .learning_rate = [](int64_t) { return 5e-5; },
    .eps = 1e-8,
    .aux_coefficient = 0,
    .governs = Governs::penalty,
    .freezes = true,
};

}  // namespace assay::sae
