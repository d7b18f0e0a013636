#include "sae/variant.h"

#include <fmt/core.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "kernels/backward_update.h"
#include "kernels/base/error.h"
#include "kernels/base/random.h"
#include "kernels/sparse_backward.h"
#include "kernels/sparse_decode.h"
#include "sae/blocks.h"
#include "sae/clip.h"
#include "sae/frozen.h"

namespace assay::sae {

namespace {

constexpr uint64_t kRounding = 0x726f756e;  // separates the uses of the seed

}  // namespace

Variant::Variant(VariantOptions options, Geometry geometry)
    : options_(std::move(options)), geometry_(std::move(geometry)) {
  const size_t groups = std::max<size_t>(1, geometry_.prefixes.size());
  weights_.assign(groups, 1 / static_cast<double>(groups));
  reported_ = static_cast<int64_t>(groups) - 1;
}

State Variant::create() const {
  State state{options_.model.n, options_.d_in, options_.d_out,
              parse_moment_type(options_.train.optimizer_state)};
  for (const auto& [name, shape] : own_parameters()) state.add(name, shape);
  return state;
}

void Variant::initialise(Context& context, State& state, uint64_t seed, const Batch& sample) const {
  unit_rows(context, seed, {state.at("W_dec").value.data(), state.n, state.d_out});
  state.at("W_enc").value = state.at("W_dec").value;
  state.at("b_dec").value = geometric_median(sample.y);
  state.screen.refresh(context, state.encoder());
}

StepReport Variant::step(Context& context, State& state, const Batch& batch, double lr,
                         NumericFlag& flag, OutsideLoss* outside) {
  StepReport report;
  target_ = batch.y;
  centre(context, state, batch.x);
  encode(context, state, flag);
  if (flag.raised()) return report;
  split();
  reconstruct(context, state, report, flag);
  if (flag.raised()) return report;
  outside_ = {};
  if (outside) ask(context, *outside, report);
  count_firing(state, report);
  auxiliary(context, state, report, flag);
  if (flag.raised()) return report;
  update(context, state, lr, report);
  return report;
}

void Variant::centre(Context& context, const State& state, ConstMatrix x) {
  batch_ = x.rows;
  centred_.resize(batch_ * options_.d_in);
  const Primitives& p = primitives(context.isa());
  parallel_for(context, batch_, [&](int64_t i) {
    float* row = centred_.data() + i * options_.d_in;
    if (geometry_.centred) {
      p.subtract(x.row(i), state.decoder_bias(), row, options_.d_in);
    } else {
      std::copy_n(x.row(i), options_.d_in, row);
    }
  });
}

void Variant::split() {
  if (weights_.size() == 1) return;
  const SparseCodes whole = std::move(codes_);
  codes_ = {};
  for (size_t group = 0; group < geometry_.prefixes.size(); ++group) {
    const int64_t first = group == 0 ? 0 : geometry_.prefixes[group - 1],
                  end = geometry_.prefixes[group];
    SparseCodes part;
    for (int64_t i = 0; i < whole.rows(); ++i) {
      for (int64_t p = whole.row_offsets[i]; p < whole.row_offsets[i + 1]; ++p) {
        if (whole.indices[p] < first || whole.indices[p] >= end) continue;
        part.indices.push_back(whole.indices[p]);
        part.values.push_back(whole.values[p]);
      }
      part.row_offsets.push_back(static_cast<int64_t>(part.indices.size()));
    }
    append_rows(part);
  }
}

void Variant::append_rows(const SparseCodes& codes) {
  const int64_t pairs = codes_.pairs();
  for (int64_t i = 1; i <= codes.rows(); ++i)
    codes_.row_offsets.push_back(pairs + codes.row_offsets[i]);
  codes_.indices.insert(codes_.indices.end(), codes.indices.begin(), codes.indices.end());
  codes_.values.insert(codes_.values.end(), codes.values.begin(), codes.values.end());
}

void Variant::reconstruct(Context& context, const State& state, StepReport& report,
                          NumericFlag& flag) {
  gradient_.resize(codes_.rows() * options_.d_out);
  residual_.resize(batch_ * options_.d_out);
  row_loss_.resize(batch_);
  std::vector<double> reported(batch_);
  const bool one = weights_.size() == 1;
  const Primitives& p = primitives(context.isa());
  sparse_decode(context, codes_, state.decoder(), one ? state.decoder_bias() : nullptr,
                {gradient_.data(), codes_.rows(), options_.d_out});
  bypass(context, state, {gradient_.data(), batch_, options_.d_out});
  parallel_for(context, batch_, [&](int64_t i) {
    if (!one) nest(i, state.decoder_bias());
    row_loss_[i] = differentiate(p, i, target_.row(i), reported[i]);
    if (!std::isfinite(row_loss_[i])) flag.raise(i);
  });
  const double scale = static_cast<double>(batch_) * options_.variance;
  report.loss = std::accumulate(row_loss_.begin(), row_loss_.end(), 0.0) / scale;
  report.fvu = std::accumulate(reported.begin(), reported.end(), 0.0) / scale;
}

/// The outside loss joins the squared error: gradient_ and the report take it in, its gradient by
/// the codes waits.
void Variant::ask(Context& context, OutsideLoss& outside, StepReport& report) {
  const int64_t d = options_.d_out;
  const Primitives& p = primitives(context.isa());
  std::vector<float> reconstruction(batch_ * d);
  parallel_for(context, batch_, [&](int64_t i) {
    p.subtract(target_.row(i), residual_.data() + i * d, reconstruction.data() + i * d, d);
  });
  outside_ = outside.differentiate({codes_, {reconstruction.data(), batch_, d}, report.fvu});
  const size_t rows = outside_.d_reconstruction.size(), pairs = outside_.d_codes.size();
  if ((rows != 0 && rows != reconstruction.size()) ||
      (pairs != 0 && pairs != codes_.values.size())) {
    throw UsageError(fmt::format(
        "the outside loss gave {} numbers for {} reconstructions of width {} and {} for {} codes",
        rows, batch_, d, pairs, codes_.pairs()));
  }
  const auto weight = static_cast<float>(outside_.error_weight);
  for (int64_t group = 0; group < static_cast<int64_t>(weights_.size()); ++group) {
    parallel_for(context, batch_, [&](int64_t i) {
      float* g = gradient_.data() + (group * batch_ + i) * d;
      if (weight != 1) p.scale(weight, g, d);
      if (rows != 0 && group <= reported_)
        p.axpy(1, outside_.d_reconstruction.data() + i * d, g, d);
    });
  }
  report.outside = outside_.loss;
  report.loss = outside_.error_weight * report.loss + outside_.loss;
}

/// Row i of every group becomes its nested reconstruction.
void Variant::nest(int64_t i, const float* bias) {
  const int64_t d = options_.d_out;
  const float* before = bias;
  for (size_t group = 0; group < weights_.size(); ++group) {
    float* out = gradient_.data() + (static_cast<int64_t>(group) * batch_ + i) * d;
    for (int64_t c = 0; c < d; ++c) out[c] += before[c];
    before = out;
  }
}

/// Row i of every group, its reconstruction, becomes the gradient of all reconstructions it is part
/// of. Returns the weighted squared error.
double Variant::differentiate(const Primitives& p, int64_t i, const float* y, double& reported) {
  const int64_t d = options_.d_out;
  const double scale = static_cast<double>(batch_) * options_.variance;
  double loss = 0;
  const float* later = nullptr;
  for (int64_t group = static_cast<int64_t>(weights_.size()) - 1; group >= 0; --group) {
    const auto factor = static_cast<float>(-2 * weights_[group] / scale);
    float* out = gradient_.data() + (group * batch_ + i) * d;
    p.subtract(y, out, out, d);
    const double squares = p.dot(out, out, d);
    if (group == reported_) std::copy_n(out, d, residual_.data() + i * d);
    p.scale(factor, out, d);
    if (later) p.axpy(1, later, out, d);
    loss += weights_[group] * squares;
    if (group == reported_) reported = squares;
    later = out;
  }
  return loss;
}

void Variant::count_firing(State& state, StepReport& report) {
  std::vector<char> fired(state.n);
  int64_t active = 0;
  for (int64_t p = 0; p < codes_.row_offsets[(reported_ + 1) * batch_]; ++p) {
    if (codes_.values[p] <= 0) continue;
    fired[codes_.indices[p]] = 1;
    ++active;
  }
  dead_.clear();
  for (int64_t j = 0; j < state.n; ++j) {
    state.silent[j] = fired[j] ? 0 : state.silent[j] + batch_;
    if (state.silent[j] >= options_.train.dead_after_tokens)
      dead_.push_back(static_cast<int32_t>(j));
  }
  report.l0 = static_cast<double>(active) / static_cast<double>(batch_);
  const auto [mean, first] = state.numbers.try_emplace("l0", report.l0);
  if (!first) mean->second = 0.99 * mean->second + 0.01 * report.l0;
  report.dead = static_cast<int64_t>(dead_.size());
}

AdamStep Variant::adam_step(const State& state, double lr) const {
  const TrainConfig& o = options_.train;
  const double t = static_cast<double>(state.step + 1);
  return {static_cast<float>(lr / (1 - std::pow(o.beta1, t))), static_cast<float>(o.beta1),
          static_cast<float>(o.beta2), static_cast<float>(o.eps),
          static_cast<float>(1 / (1 - std::pow(o.beta2, t)))};
}

void Variant::update(Context& context, State& state, double lr, StepReport& report) {
  const TrainConfig& o = options_.train;
  const AdamStep adam = adam_step(state, lr);
  const ConstMatrix g(gradient_.data(), codes_.rows(), options_.d_out);
  value_gradient(context, codes_, g, state.decoder(), d_values_);
  for (size_t pair = 0; pair < outside_.d_codes.size(); ++pair) {
    if (codes_.values[pair] > 0) d_values_[pair] += outside_.d_codes[pair];
  }
  dec_values_.clear();
  d_bias_.clear();
  dec_shrink_.clear();
  report.sparsity = penalty_weight(state);
  report.penalty = penalise(context, state);
  report.loss += report.penalty;
  std::vector<float> center(options_.d_in), bias(options_.d_out);
  BackwardInput input{&codes_, &d_values_, g, centred()};
  if (!dec_values_.empty()) input.dec_values = &dec_values_;
  if (!d_bias_.empty()) input.d_bias = &d_bias_;
  if (!dec_shrink_.empty()) input.dec_shrink = dec_shrink_.data();
  if (!options_.hooks.empty()) input.dec_blocks = &options_.hooks;
  UpdateOptions how{adam, geometry_.unit_norm};
  how.held = held_by(context, options_.model, static_cast<uint64_t>(o.seed), state.d_out, axes_);
  how.rounding_key =
      Random{static_cast<uint64_t>(o.seed), kRounding, static_cast<uint64_t>(state.step)}.next();
  if (o.clip_norm > 0) {
    how.gradient_scale =
        clip_scale(context, input, state.latents(), how, batch_, geometry_.centred, o.clip_norm);
  }
  backward_update(context, input, state.latents(), how, center.data());
  // b_dec moves x̂ directly (every row of the first group is part of every reconstruction;
  // auxiliary rows have no bias) and, where x is centred by it, every encoder input backwards.
  column_sums(context, {gradient_.data(), batch_, options_.d_out}, bias.data());
  for (int64_t c = 0; c < options_.d_out; ++c) {
    bias[c] *= how.gradient_scale;
    if (geometry_.centred) bias[c] -= center[c];
  }
  adapt(context, state.at("b_dec"), bias, adam);
  step_own(context, state, adam);
  ++state.step;
}

void Variant::adapt(Context& context, Parameter& parameter, const std::vector<float>& gradient,
                    const AdamStep& adam) const {
  primitives(context.isa())
      .adam(adam, gradient.data(), parameter.value.data(), parameter.m.data(), parameter.v.data(),
            static_cast<int64_t>(gradient.size()));
}

std::vector<float> Variant::decoder_norms(Context& context, const State& state) const {
  const Primitives& p = primitives(context.isa());
  const std::vector<int64_t> ends =
      options_.hooks.empty() ? std::vector<int64_t>{state.d_out} : options_.hooks;
  const auto blocks = static_cast<int64_t>(ends.size());
  std::vector<float> norms(state.n * blocks);
  parallel_for(context, state.n, [&](int64_t j) {
    const float* row = state.decoder().row(j);
    for (int64_t b = 0, first = 0; b < blocks; first = ends[b++]) {
      norms[j * blocks + b] = std::sqrt(p.dot(row + first, row + first, ends[b] - first));
    }
  });
  return norms;
}

Dictionary Variant::dictionary(const State& state) const {
  Dictionary result;
  result.info.variant = options_.model.variant;
  result.info.null_kind = null_kind_of(options_.model);
  result.info.d = options_.d_in;
  result.info.d_out = options_.d_out;
  result.info.n = state.n;
  result.info.k = options_.model.row_k();
  result.info.centred = geometry_.centred;
  result.info.prefixes = geometry_.prefixes;
  result.w_enc = state.at("W_enc").value;
  result.w_dec = state.at("W_dec").value;
  result.b_enc = state.at("b_enc").value;
  result.b_dec = state.at("b_dec").value;
  return result;
}

}  // namespace assay::sae
