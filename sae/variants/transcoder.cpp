// Transcoders: sparse latents of one hook, x, reconstruct another, y (a module's input and output).
//   pre = W_enc x + b_enc,  z = ReLU(top_k(pre)),  ŷ = Σ z_j d_j + b_dec (+ W_skip x)
//   loss = ‖y − ŷ‖² + AuxK
// transcoder: Dunefsky, Chlenski, Nanda 2024, "Transcoders find interpretable LLM feature
// circuits", arXiv 2406.11944, with TopK in place of their L1 as in the next.
// skip_transcoder: Paulo, Shabalin, Belrose 2025, "Transcoders beat sparse autoencoders for
// interpretability", arXiv 2501.18823: an affine map beside the latents.
// As sparsify, the code of the second, begins: W_dec = 0, W_skip = 0, b_dec = E y, b_enc = −W_enc E
// x; decoder norms are free. Encoder rows begin on the unit sphere, which is ours. Learning rate
// and AuxK are TopK's.
#include "kernels/primitives.h"
#include "sae/blocks.h"
#include "sae/variants/topk.h"
#include "sae/variants/variants.h"

namespace assay::sae {

namespace {

class Transcoder : public TopK {
 public:
  explicit Transcoder(const VariantOptions& o)
      : TopK(o, {.centred = false, .unit_norm = false, .prefixes = {}}) {}

  void initialise(Context& context, State& state, uint64_t seed,
                  const Batch& sample) const override {
    unit_rows(context, seed, {state.at("W_enc").value.data(), state.n, state.d_in});
    std::vector<float> mean(state.d_in);
    column_sums(context, sample.x, mean.data());
    column_sums(context, sample.y, state.at("b_dec").value.data());
    const Primitives& p = primitives(context.isa());
    p.scale(1 / static_cast<float>(sample.x.rows), mean.data(), state.d_in);
    p.scale(1 / static_cast<float>(sample.y.rows), state.at("b_dec").value.data(), state.d_out);
    for (int64_t j = 0; j < state.n; ++j) {
      state.at("b_enc").value[j] = -p.dot(state.encoder().row(j), mean.data(), state.d_in);
    }
    state.screen.refresh(context, state.encoder());
  }
};

class SkipTranscoder : public Transcoder {
 public:
  using Transcoder::Transcoder;

  Shapes own_parameters() const override { return {{"W_skip", {options_.d_out, options_.d_in}}}; }

  Dictionary dictionary(const State& state) const override {
    Dictionary result = Transcoder::dictionary(state);
    const Parameter& skip = state.at("W_skip");
    result.extra["W_skip"] = {skip.shape, skip.value};
    return result;
  }

 protected:
  void bypass(Context& context, const State& state, Matrix y) const override {
    add_product(context, centred(), {state.at("W_skip").value.data(), state.d_out, state.d_in}, y);
  }

  /// dW_skip = Σ_i g_i x_iᵀ, rows of the batch in order.
  void step_own(Context& context, State& state, const AdamStep& adam) override {
    const Primitives& p = primitives(context.isa());
    const ConstMatrix x = centred();
    std::vector<float> gradient(state.d_out * state.d_in);
    parallel_for(context, state.d_out, [&](int64_t o) {
      for (int64_t i = 0; i < batch_; ++i) {
        p.axpy(gradient_[i * state.d_out + o], x.row(i), gradient.data() + o * state.d_in,
               state.d_in);
      }
    });
    adapt(context, state.at("W_skip"), gradient, adam);
  }
};

}  // namespace

const VariantEntry kTranscoder{
    .name = "transcoder",
    .make = make_as<Transcoder>,
    .learning_rate = topk_learning_rate,
    .reads = Reads::pair,
};
const VariantEntry kSkipTranscoder{
    .name = "skip_transcoder",
    .make = make_as<SkipTranscoder>,
    .learning_rate = topk_learning_rate,
    .reads = Reads::pair,
};

}  // namespace assay::sae
