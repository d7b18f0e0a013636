// Gated (Rajamanoharan et al. 2024, "Improving dictionary learning with gated sparse autoencoders",
// arXiv 2404.16014):
//   π = W_gate (x − b_dec) + b_gate,  z = 1[π > 0]·ReLU(exp(r_mag)·W_gate (x − b_dec) + b_mag)
//   x̂ = Σ z_j d_j + b_dec
//   loss = ‖x − x̂‖² + λ Σ ReLU(π_j) + ‖x − x̂_frozen(ReLU(π))‖²
// with W_dec and b_dec held fixed in the last term.
// Unit decoder rows, encoder = decoder, r_mag and biases from 0 (b_dec from the geometric median).
// Adam β (0, 0.999). λ = 0.05, risen over the first 5 % of the run, is ours. W_enc is W_gate, b_enc
// is b_gate.
#include <algorithm>
#include <cmath>
#include <numeric>

#include "kernels/sparse_backward.h"
#include "kernels/sparse_decode.h"
#include "sae/blocks.h"
#include "sae/gate.h"
#include "sae/variants/penalised.h"
#include "sae/variants/variants.h"

namespace assay::sae {

namespace {

constexpr double kSparsity = 0.05;

class Gated : public Penalised {
 public:
  explicit Gated(const VariantOptions& o) : Penalised(o, {}, kSparsity, 0.05) {}

  Shapes own_parameters() const override {
    return {{"r_mag", {options_.model.n}}, {"b_mag", {options_.model.n}}};
  }

  Dictionary dictionary(const State& state) const override {
    Dictionary result = Penalised::dictionary(state);
    result.info.encoding = "gated";
    result.extra.clear();
    for (const char* name : {"r_mag", "b_mag"})
      result.extra[name] = {{state.n}, state.at(name).value};
    return result;
  }

 protected:
  void encode(Context& context, State& state, NumericFlag& flag) override {
    Penalised::encode(context, state, flag);
    open_gates(codes_, state.encoder_bias(), state.at("r_mag").value.data(),
               state.at("b_mag").value.data());
  }

  /// B more rows reconstruct y from ReLU(π), behind the first B.
  void auxiliary(Context& context, const State& state, StepReport& report,
                 NumericFlag& flag) override {
    gates_ = codes_.pairs();
    SparseCodes gates = codes_;
    gates.values = pre_;
    const int64_t d = options_.d_out;
    append_rows(gates);
    gradient_.resize(codes_.rows() * d);
    const Matrix g(gradient_.data() + batch_ * d, batch_, d);
    sparse_decode(context, gates, state.decoder(), state.decoder_bias(), g);
    std::vector<double> row_loss(batch_);
    const auto factor = static_cast<float>(2 * row_weight());
    parallel_for(context, batch_, [&](int64_t i) {
      for (int64_t c = 0; c < d; ++c) {
        const float error = g.row(i)[c] - target_.row(i)[c];
        g.row(i)[c] = factor * error;
        row_loss[i] += static_cast<double>(error) * error;
      }
    });
    const double loss = std::accumulate(row_loss.begin(), row_loss.end(), 0.0) * row_weight();
    Penalised::auxiliary(context, state, report, flag);
    report.loss += loss;
  }

  double penalise(Context&, State& state) override {
    const std::vector<float>&r_mag = state.at("r_mag").value, &b_mag = state.at("b_mag").value;
    const double each = weight(state) * row_weight();
    double sum = 0;
    dec_values_ = codes_.values;
    std::vector<float> d_r(codes_.pairs()), d_b(codes_.pairs());
    for (int64_t p = 0; p < gates_; ++p) {
      const int32_t j = codes_.indices[p];
      d_b[p] = d_values_[p];
      d_r[p] = d_values_[p] * (codes_.values[p] - b_mag[j]);
      d_values_[p] *= std::exp(r_mag[j]);
      dec_values_[gates_ + p] = 0;
      d_values_[gates_ + p] += static_cast<float>(each);
      sum += codes_.values[gates_ + p];
    }
    d_bias_ = d_values_;
    std::fill_n(d_bias_.begin(), gates_, 0.0f);
    sum_by_latent(codes_, d_r, state.n, d_r_mag_);
    sum_by_latent(codes_, d_b, state.n, d_b_mag_);
    return each * sum;
  }

  void step_own(Context& context, State& state, const AdamStep& adam) override {
    adapt(context, state.at("r_mag"), d_r_mag_, adam);
    adapt(context, state.at("b_mag"), d_b_mag_, adam);
  }

 private:
  int64_t gates_ = 0;  ///< open gates of the batch: pairs [0, gates_) carry z, the next as many π
  std::vector<float> d_r_mag_, d_b_mag_;
};

}  // namespace

const VariantEntry kGated{
    .name = "gated",
    .make = make_as<Gated>,
    .learning_rate = saebench_learning_rate,
    .beta1 = 0,
    .eps = 1e-8,
    .aux_coefficient = 0,
    .governs = Governs::penalty,
};

}  // namespace assay::sae
