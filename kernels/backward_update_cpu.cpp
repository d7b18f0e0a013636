#include <algorithm>
#include <cmath>

#include "kernels/back_ends.h"

namespace assay {

namespace {

/// One worker's gradient rows.
struct Gradient {
  std::vector<float> enc, dec;
  float bias = 0;
};

class Update {
 public:
  Update(Context& context, const BackwardInput& in, const LatentState& state, const UpdateOptions& options)
      : p_(primitives(context.isa())), in_(in), s_(state), options_(options), d_(state.w_enc.cols) {
    sort_by_latent(*in.codes, state.w_enc.rows, order_);
  }

  /// Steps latent j and adds db_enc[j]·W_enc[j] (before the step) to center [d].
  void step(int64_t j, Gradient& gradient, float* center) const {
    sum_pairs(j, gradient);
    if (gradient.bias != 0) p_.axpy(gradient.bias, s_.w_enc.row(j), center, d_);
    float* dec = s_.w_dec.row(j);
    if (options_.unit_norm) p_.axpy(-p_.dot(gradient.dec.data(), dec, d_), dec, gradient.dec.data(), d_);
    p_.adam(options_.adam, gradient.enc.data(), s_.w_enc.row(j), s_.w_enc_m.row(j), s_.w_enc_v.row(j), d_);
    p_.adam(options_.adam, gradient.dec.data(), dec, s_.w_dec_m.row(j), s_.w_dec_v.row(j), d_);
    p_.adam(options_.adam, &gradient.bias, s_.b_enc + j, s_.b_enc_m + j, s_.b_enc_v + j, 1);
    if (options_.unit_norm) p_.scale(1 / std::sqrt(p_.dot(dec, dec, d_)), dec, d_);
    s_.screen->refresh(p_, j, s_.w_enc.row(j));
  }

 private:
  void sum_pairs(int64_t j, Gradient& gradient) const {
    gradient.enc.assign(d_, 0);
    gradient.dec.assign(d_, 0);
    gradient.bias = 0;
    for (int64_t o = order_.offsets[j]; o < order_.offsets[j + 1]; ++o) {
      const int64_t pair = order_.pairs[o];
      const float d_value = (*in_.d_values)[pair];
      p_.axpy(in_.codes->values[pair], in_.g.row(order_.rows[o]), gradient.dec.data(), d_);
      p_.axpy(d_value, in_.x.row(order_.rows[o]), gradient.enc.data(), d_);
      gradient.bias += d_value;
    }
  }

  const Primitives& p_;
  const BackwardInput& in_;
  const LatentState& s_;
  const UpdateOptions& options_;
  int64_t d_;
  PairsByLatent order_;
};

}  // namespace

void backward_update_cpu(Context& context, const BackwardInput& input, const LatentState& state,
                         const UpdateOptions& options, float* center_gradient) {
  const int64_t n = state.w_enc.rows, d = state.w_enc.cols;
  const Update update(context, input, state, options);
  // Whole blocks of the screening copy belong to one part, so no two workers write one cache line of it.
  const int64_t blocks = (n + kScreenBlock - 1) / kScreenBlock, parts = std::min(kCenterParts, blocks);
  std::vector<Gradient> gradients(context.pool().threads());
  std::vector<float> centers(parts * d);
  context.pool().run(parts, [&](int64_t part, int worker) {
    const int64_t first = blocks * part / parts * kScreenBlock, last = blocks * (part + 1) / parts * kScreenBlock;
    for (int64_t j = first; j < std::min(n, last); ++j) {
      update.step(j, gradients[worker], centers.data() + part * d);
    }
  });
  std::fill_n(center_gradient, d, 0.0f);
  for (int64_t part = 0; part < parts; ++part) {
    for (int64_t i = 0; i < d; ++i) center_gradient[i] += centers[part * d + i];
  }
}

}  // namespace assay
