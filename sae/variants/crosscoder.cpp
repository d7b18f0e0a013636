// Crosscoders: one code reads and reconstructs several hooks h of the same token, of one model or
// of two. The hooks stand side by side in x, each at its own scale (E‖x_h‖² = 1), so that encoder
// and decoder are those of a wide autoencoder:
//   pre = Σ_h W_enc,h x_h + b_enc,  x̂_h = Σ_j z_j d_j,h + b_dec,h,  error = Σ_h ‖x_h − x̂_h‖²
//
// crosscoder (Lindsey, Templeton, Marcus, Conerly, Batson, Olah 2024, "Sparse crosscoders for
// cross-layer features and model diffing", Anthropic, October): z = ReLU(pre),
// loss = error + λ Σ_j z_j Σ_h ‖d_j,h‖. The source gives no optimiser; here it is relu's, whose
// form it takes for one hook: every d_j,h begins with norm 0.1, λ = 5/√d (d of all hooks together).
//
// crosscoder_batch_topk (Minder, Dumas, Juang, Chughtai, Nanda 2025, "Overcoming sparsity artifacts
// in crosscoders to interpret chat-tuning", arXiv 2504.02922): BatchTopK ranks pre·Σ_h ‖d_j,h‖, and
// so does AuxK; no norm is kept at one. Every d_j,h begins with norm 1, encoder = decoder, b_dec =
// the geometric median, learning rate and AuxK of BatchTopK. Published: pre > θ / Σ_h ‖d_j,h‖.
// Their code minimises the error's root; here it is the error itself, as in every variant.
#include "sae/variants/batch_topk.h"
#include "sae/variants/relu.h"
#include "sae/variants/variants.h"

namespace assay::sae {

namespace {

class CrosscoderBatchTopK : public BatchTopK {
 public:
  explicit CrosscoderBatchTopK(const VariantOptions& o)
      : BatchTopK(o, {.centred = false, .unit_norm = false, .prefixes = {}}) {}

  void initialise(Context& context, State& state, uint64_t seed,
                  const Batch& sample) const override {
    unit_rows_by_hook(context, seed, options_.hooks, 1, state);
    state.at("b_dec").value = geometric_median(sample.y);
  }

 protected:
  std::vector<float> rank_scale(Context& context, const State& state) const override {
    const std::vector<float> norms = decoder_norms(context, state);
    const auto hooks = static_cast<int64_t>(norms.size()) / state.n;
    std::vector<float> scale(state.n);
    for (size_t i = 0; i < norms.size(); ++i) scale[i / hooks] += norms[i];
    return scale;
  }
};

}  // namespace

const VariantEntry kCrosscoder{
    .name = "crosscoder",
    .make = make_as<ReLU>,
    .learning_rate = [](int64_t) { return 5e-5; },
    .eps = 1e-8,
    .aux_coefficient = 0,
    .reads = Reads::several,
    .governs = Governs::penalty,
};
const VariantEntry kCrosscoderBatchTopK{
    .name = "crosscoder_batch_topk",
    .make = make_as<CrosscoderBatchTopK>,
    .learning_rate = topk_learning_rate,
    .reads = Reads::several,
    .batch_threshold = true,
};

}  // namespace assay::sae
