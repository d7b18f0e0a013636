#include "sae/topk.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "kernels/backward_update.h"
#include "kernels/sparse_backward.h"
#include "kernels/sparse_decode.h"

namespace assay::sae {

namespace {

constexpr int64_t kRows = 64;     // rows a task
constexpr int64_t kColumns = 64;  // columns a task

int64_t tasks(int64_t count, int64_t each) { return (count + each - 1) / each; }

/// Visit blocks of columns [first, last) on the pool.
template <class Body>
void over_columns(Context& context, int64_t d, const Body& body) {
  context.pool().run(tasks(d, kColumns), [&](int64_t task, int) {
    for (int64_t c = task * kColumns; c < std::min(d, (task + 1) * kColumns); ++c) body(c);
  });
}

template <class Body>
void over_rows(Context& context, int64_t rows, const Body& body) {
  context.pool().run(tasks(rows, kRows), [&](int64_t task, int) {
    for (int64_t i = task * kRows; i < std::min(rows, (task + 1) * kRows); ++i) body(i);
  });
}

void rectify(SparseCodes& codes) {
  for (float& value : codes.values) value = std::max(value, 0.0f);
}

/// Rows `chosen` of an encoder, with their own screening copy.
struct Gathered {
  std::vector<float> w, bias;
  ScreenCopy screen;

  Gathered(Context& context, const TopKState& state, const std::vector<int32_t>& chosen)
      : w(chosen.size() * state.d), bias(chosen.size()), screen(static_cast<int64_t>(chosen.size()), state.d) {
    for (size_t c = 0; c < chosen.size(); ++c) {
      std::copy_n(state.encoder().row(chosen[c]), state.d, w.data() + c * state.d);
      bias[c] = state.b_enc.value[chosen[c]];
    }
    screen.refresh(context, encoder().w);
  }
  Encoder encoder() const {
    return {{w.data(), screen.latents(), static_cast<int64_t>(w.size()) / std::max<int64_t>(1, screen.latents())},
            bias.data(),
            &screen};
  }
};

}  // namespace

TopKStep::TopKStep(const TopKOptions& options, int64_t batch, int64_t d)
    : options_(options),
      batch_(batch),
      d_(d),
      centred_(2 * batch * d),
      gradient_(2 * batch * d),
      residual_(batch * d),
      row_loss_(batch),
      column_(d) {}

StepReport TopKStep::run(Context& context, TopKState& state, ConstMatrix x, double lr, NumericFlag& flag) {
  StepReport report;
  const Primitives& p = primitives(context.isa());
  over_rows(context, batch_,
            [&](int64_t i) { p.subtract(x.row(i), state.b_dec.value.data(), centred_.data() + i * d_, d_); });
  encode_topk(context, {centred_.data(), batch_, d_}, {state.encoder(), state.b_enc.value.data(), &state.screen},
              options_.k, codes_, flag);
  if (flag.raised()) return report;
  rectify(codes_);
  residual(context, state, x, report);
  count_firing(state, report);
  if (options_.aux_coefficient > 0 && report.dead > 0) add_aux(context, state, report, flag);
  if (flag.raised()) return report;
  report.loss = report.fvu + options_.aux_coefficient * report.aux_loss;
  update(context, state, lr);
  return report;
}

void TopKStep::residual(Context& context, const TopKState& state, ConstMatrix x, StepReport& report) {
  Matrix g(gradient_.data(), batch_, d_);
  sparse_decode(context, codes_, state.decoder(), state.b_dec.value.data(), g);
  const double variance = options_.variance, rows = static_cast<double>(batch_);
  const auto factor = static_cast<float>(-2 / (rows * variance));
  over_rows(context, batch_, [&](int64_t i) {
    double squares = 0;
    for (int64_t c = 0; c < d_; ++c) {
      const float r = x.row(i)[c] - g.row(i)[c];
      residual_[i * d_ + c] = r;
      g.row(i)[c] = factor * r;
      squares += static_cast<double>(r) * r;
    }
    row_loss_[i] = squares;
  });
  report.fvu = std::accumulate(row_loss_.begin(), row_loss_.end(), 0.0) / (rows * variance);
}

void TopKStep::count_firing(TopKState& state, StepReport& report) {
  fired_.assign(state.n, 0);
  int64_t active = 0;
  for (int64_t p = 0; p < codes_.pairs(); ++p) {
    if (codes_.values[p] <= 0) continue;
    fired_[codes_.indices[p]] = 1;
    ++active;
  }
  dead_.clear();
  for (int64_t j = 0; j < state.n; ++j) {
    state.silent[j] = fired_[j] ? 0 : state.silent[j] + batch_;
    if (state.silent[j] >= options_.dead_after) dead_.push_back(static_cast<int32_t>(j));
  }
  report.l0 = static_cast<double>(active) / static_cast<double>(batch_);
  report.dead = static_cast<int64_t>(dead_.size());
}

/// Σ over columns of the batch's variance of the residual.
double TopKStep::residual_variance(Context& context) const {
  std::vector<double> variance(d_);
  over_columns(context, d_, [&](int64_t c) {
    double sum = 0, squares = 0;
    for (int64_t i = 0; i < batch_; ++i) sum += residual_[i * d_ + c];
    const double mean = sum / static_cast<double>(batch_);
    for (int64_t i = 0; i < batch_; ++i) squares += (residual_[i * d_ + c] - mean) * (residual_[i * d_ + c] - mean);
    variance[c] = squares / static_cast<double>(batch_);
  });
  return std::accumulate(variance.begin(), variance.end(), 0.0);
}

void TopKStep::add_aux(Context& context, const TopKState& state, StepReport& report, NumericFlag& flag) {
  const double variance = residual_variance(context);
  if (!(variance > 0)) return;
  const Gathered dead(context, state, dead_);
  encode_topk(context, {centred_.data(), batch_, d_}, dead.encoder(),
              std::min<int64_t>(options_.aux_k, static_cast<int64_t>(dead_.size())), aux_codes_, flag);
  if (flag.raised()) return;
  rectify(aux_codes_);
  for (int32_t& index : aux_codes_.indices) index = dead_[index];

  Matrix g(gradient_.data() + batch_ * d_, batch_, d_);
  sparse_decode(context, aux_codes_, state.decoder(), nullptr, g);
  const double rows = static_cast<double>(batch_);
  const auto factor = static_cast<float>(2 * options_.aux_coefficient / (rows * variance));
  over_rows(context, batch_, [&](int64_t i) {
    double squares = 0;
    for (int64_t c = 0; c < d_; ++c) {
      const float error = g.row(i)[c] - residual_[i * d_ + c];
      g.row(i)[c] = factor * error;
      squares += static_cast<double>(error) * error;
    }
    row_loss_[i] = squares;
  });
  report.aux_loss = std::accumulate(row_loss_.begin(), row_loss_.end(), 0.0) / (rows * variance);

  // AuxK's rows follow the batch's: one backward pass serves both losses.
  std::copy_n(centred_.begin(), batch_ * d_, centred_.begin() + batch_ * d_);
  const int64_t pairs = codes_.pairs();
  for (int64_t i = 1; i <= batch_; ++i) codes_.row_offsets.push_back(pairs + aux_codes_.row_offsets[i]);
  codes_.indices.insert(codes_.indices.end(), aux_codes_.indices.begin(), aux_codes_.indices.end());
  codes_.values.insert(codes_.values.end(), aux_codes_.values.begin(), aux_codes_.values.end());
}

void TopKStep::update(Context& context, TopKState& s, double lr) {
  const double t = static_cast<double>(s.step + 1);
  const AdamStep adam{static_cast<float>(lr / (1 - std::pow(options_.beta1, t))), static_cast<float>(options_.beta1),
                      static_cast<float>(options_.beta2), static_cast<float>(options_.eps),
                      static_cast<float>(1 / (1 - std::pow(options_.beta2, t)))};
  const ConstMatrix g(gradient_.data(), codes_.rows(), d_), x(centred_.data(), codes_.rows(), d_);
  value_gradient(context, codes_, g, s.decoder(), d_values_);
  const auto view = [&](std::vector<float>& values) { return Matrix(values.data(), s.n, s.d); };
  const LatentState latents{view(s.w_enc.value), view(s.w_enc.m), view(s.w_enc.v),      view(s.w_dec.value),
                            view(s.w_dec.m),     view(s.w_dec.v), s.b_enc.value.data(), s.b_enc.m.data(),
                            s.b_enc.v.data(),    &s.screen};
  backward_update(context, {&codes_, &d_values_, g, x}, latents, {adam, true}, column_.data());
  // b_dec moves x̂ directly (the batch's own rows only) and every encoder input backwards.
  over_columns(context, d_, [&](int64_t c) {
    float sum = 0;
    for (int64_t i = 0; i < batch_; ++i) sum += gradient_[i * d_ + c];
    column_[c] = sum - column_[c];
  });
  primitives(context.isa()).adam(adam, column_.data(), s.b_dec.value.data(), s.b_dec.m.data(), s.b_dec.v.data(), d_);
  ++s.step;
}

}  // namespace assay::sae
