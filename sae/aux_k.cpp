// AuxK, the auxiliary loss that revives dead latents: see variant.h.
#include <algorithm>
#include <numeric>

#include "kernels/encode_topk.h"
#include "kernels/sparse_decode.h"
#include "sae/blocks.h"
#include "sae/variant.h"

namespace assay::sae {

namespace {

/// Rows `chosen` of an encoder, with their own screening copy.
struct Gathered {
  std::vector<float> w, bias, scale;
  ScreenCopy screen;

  Gathered(Context& context, const State& state, const std::vector<float>& rank_scale,
           const std::vector<int32_t>& chosen)
      : w(chosen.size() * state.d_in),
        bias(chosen.size()),
        screen(static_cast<int64_t>(chosen.size()), state.d_in) {
    for (size_t c = 0; c < chosen.size(); ++c) {
      std::copy_n(state.encoder().row(chosen[c]), state.d_in, w.data() + c * state.d_in);
      bias[c] = state.encoder_bias()[chosen[c]];
      if (!rank_scale.empty()) scale.push_back(rank_scale[chosen[c]]);
    }
    screen.refresh(context, ConstMatrix(w.data(), screen.latents(), state.d_in));
  }
  Encoder encoder(int64_t d) const {
    return {{w.data(), screen.latents(), d},
            bias.data(),
            &screen,
            scale.empty() ? nullptr : scale.data()};
  }
};

}  // namespace

/// Σ over columns of the batch's variance of the residual.
double Variant::residual_variance(Context& context) const {
  const int64_t d = options_.d_out;
  std::vector<double> variance(d);
  parallel_for(context, d, [&](int64_t c) {
    double sum = 0, squares = 0;
    for (int64_t i = 0; i < batch_; ++i) sum += residual_[i * d + c];
    const double mean = sum / static_cast<double>(batch_);
    for (int64_t i = 0; i < batch_; ++i)
      squares += (residual_[i * d + c] - mean) * (residual_[i * d + c] - mean);
    variance[c] = squares / static_cast<double>(batch_);
  });
  return std::accumulate(variance.begin(), variance.end(), 0.0);
}

void Variant::auxiliary(Context& context, const State& state, StepReport& report,
                        NumericFlag& flag) {
  const TrainConfig& o = options_.train;
  if (!(o.aux_coefficient > 0) || dead_.empty()) return;
  const double variance = residual_variance(context);
  if (!(variance > 0)) return;
  const Gathered dead(context, state, rank_scale(context, state), dead_);
  SparseCodes codes;
  encode_topk(context, centred(), dead.encoder(options_.d_in),
              std::min<int64_t>(o.aux_k, static_cast<int64_t>(dead_.size())), codes, flag);
  if (flag.raised()) return;
  for (float& value : codes.values) value = std::max(value, 0.0f);
  for (int32_t& index : codes.indices) index = dead_[index];

  const int64_t first = codes_.rows(), d = options_.d_out;
  append_rows(codes);
  gradient_.resize(codes_.rows() * d);
  const Matrix g(gradient_.data() + first * d, batch_, d);
  sparse_decode(context, codes, state.decoder(), nullptr, g);
  const double rows = static_cast<double>(batch_);
  const auto factor = static_cast<float>(2 * o.aux_coefficient / (rows * variance));
  parallel_for(context, batch_, [&](int64_t i) {
    double squares = 0;
    for (int64_t c = 0; c < d; ++c) {
      const float error = g.row(i)[c] - residual_[i * d + c];
      g.row(i)[c] = factor * error;
      squares += static_cast<double>(error) * error;
    }
    row_loss_[i] = squares;
  });
  report.aux_loss = std::accumulate(row_loss_.begin(), row_loss_.end(), 0.0) / (rows * variance);
  report.loss += o.aux_coefficient * report.aux_loss;
}

}  // namespace assay::sae
