#include <algorithm>
#include <array>
#include <cmath>
#include <numeric>
#include <vector>

#include "kernels/back_ends.h"
#include "kernels/prefetch.h"

namespace assay {

namespace {

constexpr int64_t kCrowded = 16;  // a latent is crowded where it has a pair in one row of so many
constexpr size_t kTogether = 16;  // crowded latents summed together: their gradients stay in L2
constexpr int64_t kWindow = 64;   // rows they meet before the next
constexpr int64_t kFew = 4;       // pairs added while the next few are fetched
constexpr int64_t kMany = 32;     // most pairs added at once

/// The gradient rows of one latent.
struct Gradient {
  std::vector<float> enc, dec;
  float bias, value;  ///< Σ d_bias, Σ d_value
};

class Gradients {
 public:
  Gradients(Context& context, const BackwardInput& in, const LatentState& state,
            const UpdateOptions& options)
      : p_(primitives(context.isa())),
        in_(in),
        s_(state),
        options_(options),
        dec_values_(in.dec_values != nullptr ? *in.dec_values : in.codes->values),
        d_bias_(in.d_bias != nullptr ? *in.d_bias : *in.d_values) {
    sort_by_latent(context, *in.codes, state.w_enc.rows, dec_values_.data(), in.d_values->data(),
                   order_);
  }

  /// Has latent j so many pairs that others of its kind are likely to meet the same rows?
  bool crowded(int64_t j) const {
    return (order_.offsets[j + 1] - order_.offsets[j]) * kCrowded >= in_.g.rows;
  }

  /// The gradients of latent j, the decoder's projected where asked for.
  void sum(int64_t j, Gradient& gradient) const {
    clear(gradient);
    add(order_.offsets[j], order_.offsets[j + 1], gradient);
    finish(j, gradient);
  }

  /// The same for several latents, the pairs of each within a window of rows before those of any
  /// within the next: rows that they share are fetched once. A latent's own pairs are added in
  /// order.
  void sum_together(const std::vector<int64_t>& latents, std::vector<Gradient>& gradients) const {
    std::array<int64_t, kTogether> next{};
    for (size_t l = 0; l < latents.size(); ++l) {
      clear(gradients[l]);
      next[l] = order_.offsets[latents[l]];
    }
    for (int64_t window = kWindow; !latents.empty() && window < in_.g.rows + kWindow;
         window += kWindow) {
      for (size_t l = 0; l < latents.size(); ++l) {
        const int64_t first = next[l], end = order_.offsets[latents[l] + 1];
        while (next[l] < end && order_.rows[next[l]] < window) ++next[l];
        add_cached(first, next[l], gradients[l]);
      }
    }
    for (size_t l = 0; l < latents.size(); ++l) finish(latents[l], gradients[l]);
  }

  /// Steps latent j and adds (Σ d_value)·W_enc[j] (before the step) to center [d_in] where there is
  /// one.
  void step(int64_t j, Gradient& gradient, float* center) const {
    if (options_.gradient_scale != 1) rescale(gradient);
    if (center != nullptr && gradient.value != 0)
      p_.axpy(gradient.value, s_.w_enc.row(j), center, s_.w_enc.cols);
    if (!options_.held.encoder) step_encoder(j, gradient);
    if (!options_.held.decoder) step_decoder(j, gradient);
  }

  /// Of the gradients that `step` will use.
  double squares(const Gradient& gradient) const {
    const auto of = [this](const std::vector<float>& row) -> double {
      return p_.dot(row.data(), row.data(), static_cast<int64_t>(row.size()));
    };
    return (options_.held.encoder ? 0 : of(gradient.enc)) +
           (options_.held.decoder ? 0 : of(gradient.dec)) +
           (options_.held.encoder ? 0 : gradient.bias * gradient.bias);
  }

 private:
  void step_encoder(int64_t j, const Gradient& gradient) const {
    float* enc = s_.w_enc.row(j);
    if (s_.w_enc_narrow != nullptr) {
      s_.w_enc_narrow->step(p_, options_.adam, rounding_key(2 * j), j, gradient.enc.data(), enc);
    } else {
      p_.adam(options_.adam, gradient.enc.data(), enc, s_.w_enc_m.row(j), s_.w_enc_v.row(j),
              s_.w_enc.cols);
    }
    p_.adam(options_.adam, &gradient.bias, s_.b_enc + j, s_.b_enc_m + j, s_.b_enc_v + j, 1);
    s_.screen->refresh(p_, j, enc);
  }

  void step_decoder(int64_t j, const Gradient& gradient) const {
    const int64_t d = s_.w_dec.cols;
    float* dec = s_.w_dec.row(j);
    if (s_.w_dec_narrow != nullptr) {
      s_.w_dec_narrow->step(p_, options_.adam, rounding_key(2 * j + 1), j, gradient.dec.data(),
                            dec);
    } else {
      p_.adam(options_.adam, gradient.dec.data(), dec, s_.w_dec_m.row(j), s_.w_dec_v.row(j), d);
    }
    if (options_.unit_norm) p_.scale(1 / std::sqrt(p_.dot(dec, dec, d)), dec, d);
    if (options_.held.axes != nullptr) hold_in_cone(options_.held.axes + j * d, dec);
  }

  /// w ← r (c a + √(1 − c²) u), u the direction of w's part across the axis a: on the sphere of
  /// radius r = ‖w‖, that is the point of the cone nearest to w.
  void hold_in_cone(const float* axis, float* row) const {
    const int64_t d = s_.w_dec.cols;
    const float length = std::sqrt(p_.dot(row, row, d)), along = p_.dot(row, axis, d);
    const float cosine = options_.held.cosine;
    if (along >= cosine * length) return;
    p_.axpy(-along, axis, row, d);
    const float across = std::sqrt(p_.dot(row, row, d));
    if (across > 0) p_.scale(length * std::sqrt(1 - cosine * cosine) / across, row, d);
    p_.axpy(across > 0 ? length * cosine : length, axis, row, d);  // else: it pointed backwards
  }

  uint64_t rounding_key(int64_t stream) const {
    return options_.rounding_key + static_cast<uint64_t>(stream);
  }

  const float* x_row(int64_t o) const { return in_.x.row(order_.rows[o] % in_.x.rows); }

  void clear(Gradient& gradient) const {
    gradient.enc.assign(s_.w_enc.cols, 0);
    gradient.dec.assign(s_.w_dec.cols, 0);
    gradient.bias = gradient.value = 0;
  }

  /// Pairs [o, end), a few at a time: their rows come from far away and in no order a processor
  /// could guess, so those of the pairs after these, the next latent's too, are fetched meanwhile.
  void add(int64_t o, int64_t end, Gradient& gradient) const {
    for (; o < end; o += kFew) {
      const int64_t here = std::min(end, o + kFew);
      const int64_t ahead =
          std::min<int64_t>(here + kFew, static_cast<int64_t>(order_.rows.size()));
      for (int64_t next = here; next < ahead; ++next) {
        prefetch_row(in_.g.row(order_.rows[next]), in_.g.cols);
        prefetch_row(x_row(next), in_.x.cols);
      }
      add_cached(o, here, gradient);
    }
  }

  /// Pairs [o, end) whose rows are taken to be in cache.
  void add_cached(int64_t o, int64_t end, Gradient& gradient) const {
    float dec[kMany], enc[kMany];
    const float *g[kMany], *x[kMany];
    for (int64_t count; o < end; o += count) {
      count = std::min(kMany, end - o);
      for (int64_t i = 0; i < count; ++i) {
        const int64_t pair = order_.pairs[o + i];
        dec[i] = dec_values_[pair];
        enc[i] = (*in_.d_values)[pair];
        g[i] = in_.g.row(order_.rows[o + i]);
        x[i] = x_row(o + i);
        gradient.bias += d_bias_[pair];
        gradient.value += enc[i];
      }
      p_.axpys(dec, g, count, gradient.dec.data(), in_.g.cols);
      p_.axpys(enc, x, count, gradient.enc.data(), in_.x.cols);
    }
  }

  void finish(int64_t j, Gradient& gradient) const {
    const float* dec = s_.w_dec.row(j);
    if (in_.dec_shrink != nullptr) shrink(j, gradient);
    if (options_.unit_norm) {
      p_.axpy(-p_.dot(gradient.dec.data(), dec, s_.w_dec.cols), dec, gradient.dec.data(),
              s_.w_dec.cols);
    }
  }

  void shrink(int64_t j, Gradient& gradient) const {
    const float* dec = s_.w_dec.row(j);
    if (in_.dec_blocks == nullptr)
      return p_.axpy(in_.dec_shrink[j], dec, gradient.dec.data(), s_.w_dec.cols);
    const auto blocks = static_cast<int64_t>(in_.dec_blocks->size());
    int64_t first = 0;
    for (int64_t b = 0; b < blocks; ++b) {
      const int64_t end = (*in_.dec_blocks)[b];
      p_.axpy(in_.dec_shrink[j * blocks + b], dec + first, gradient.dec.data() + first,
              end - first);
      first = end;
    }
  }

  void rescale(Gradient& gradient) const {
    p_.scale(options_.gradient_scale, gradient.enc.data(), s_.w_enc.cols);
    p_.scale(options_.gradient_scale, gradient.dec.data(), s_.w_dec.cols);
    gradient.bias *= options_.gradient_scale;
    gradient.value *= options_.gradient_scale;
  }

  const Primitives& p_;
  const BackwardInput& in_;
  const LatentState& s_;
  const UpdateOptions& options_;
  const std::vector<float>&dec_values_, &d_bias_;
  PairsByLatent order_;
};

/// One worker's gradients: of one latent, and of the crowded latents of a stretch.
struct Worker {
  Gradient one;
  std::vector<Gradient> many = std::vector<Gradient>(kTogether);
  std::vector<int64_t> crowded;
};

/// body(part, latent, its gradients, worker) over all latents, ascending within a part. Parts are
/// whole blocks of the screening copy, so no two workers write one cache line of it; a task is
/// several parts, so that crowded latents meet.
template <class Body>
void over_latents(Context& context, const Gradients& gradients, int64_t n, const Body& body) {
  const int64_t blocks = (n + kScreenBlock - 1) / kScreenBlock,
                parts = std::min(kCenterParts, blocks);
  const int64_t tasks = std::min(parts, std::max<int64_t>(16, 4 * context.pool().threads()));
  const auto start_of = [&](int64_t part) {
    return std::min(n, blocks * part / parts * kScreenBlock);
  };
  std::vector<Worker> workers(context.pool().threads());
  context.pool().run(tasks, [&](int64_t task, int worker) {
    Worker& w = workers[worker];
    int64_t part = parts * task / tasks;
    const int64_t end = start_of(parts * (task + 1) / tasks);
    for (int64_t first = start_of(part), last; first < end; first = last) {
      w.crowded.clear();
      for (last = first; last < end && w.crowded.size() < kTogether; ++last) {
        if (gradients.crowded(last)) w.crowded.push_back(last);
      }
      gradients.sum_together(w.crowded, w.many);
      size_t next = 0;
      for (int64_t j = first; j < last; ++j) {
        while (j >= start_of(part + 1)) ++part;
        const bool summed = next < w.crowded.size() && w.crowded[next] == j;
        if (!summed) gradients.sum(j, w.one);
        body(part, j, summed ? w.many[next++] : w.one);
      }
    }
  });
}

}  // namespace

void backward_update_cpu(Context& context, const BackwardInput& input, const LatentState& state,
                         const UpdateOptions& options, float* center_gradient) {
  const int64_t d = state.w_enc.cols;
  const Gradients gradients(context, input, state, options);
  std::vector<float> centers(center_gradient != nullptr ? kCenterParts * d : 0);
  over_latents(context, gradients, state.w_enc.rows,
               [&](int64_t part, int64_t j, Gradient& gradient) {
                 gradients.step(j, gradient,
                                center_gradient != nullptr ? centers.data() + part * d : nullptr);
               });
  if (center_gradient == nullptr) return;
  std::fill_n(center_gradient, d, 0.0f);
  for (int64_t part = 0; part < kCenterParts; ++part) {
    for (int64_t i = 0; i < d; ++i) center_gradient[i] += centers[part * d + i];
  }
}

double gradient_squares_cpu(Context& context, const BackwardInput& input, const LatentState& state,
                            const UpdateOptions& options) {
  const Gradients gradients(context, input, state, options);
  std::vector<double> squares(kCenterParts);
  over_latents(
      context, gradients, state.w_enc.rows,
      [&](int64_t part, int64_t, const Gradient& row) { squares[part] += gradients.squares(row); });
  return std::accumulate(squares.begin(), squares.end(), 0.0);
}

}  // namespace assay
