#include "sae/resample.h"

#include <fmt/core.h>

#include <algorithm>
#include <cmath>

#include "kernels/base/error.h"
#include "kernels/base/random.h"
#include "kernels/primitives.h"
#include "sae/blocks.h"
#include "sae/dictionary.h"
#include "sae/variants/variants.h"

namespace assay::sae {

namespace {

constexpr uint64_t kDraws = 0x7265736d;     // separates the uses of the seed
constexpr double kShareOfLivingNorm = 0.2;  // Bricken et al.'s

/// Running sums of the rows' squared losses.
std::vector<double> loss_sums(Context& context, const Variant& variant, const State& state,
                              ConstMatrix x) {
  const Dictionary dictionary = variant.dictionary(state);
  std::vector<float> decoded(x.rows * x.cols);
  dictionary.decode(context, dictionary.encode(context, x), {decoded.data(), x.rows, x.cols});
  std::vector<double> sums(x.rows);
  parallel_for(context, x.rows, [&](int64_t i) {
    double loss = 0;
    for (int64_t c = 0; c < x.cols; ++c) {
      const double error = static_cast<double>(x.row(i)[c]) - decoded[i * x.cols + c];
      loss += error * error;
    }
    sums[i] = loss * loss;
  });
  for (int64_t i = 1; i < x.rows; ++i) sums[i] += sums[i - 1];
  return sums;
}

double mean_living_norm(Context& context, const State& state, int64_t dead_after) {
  const Primitives& p = primitives(context.isa());
  double sum = 0;
  int64_t living = 0;
  for (int64_t j = 0; j < state.n; ++j) {
    if (state.silent[j] >= dead_after) continue;
    sum += std::sqrt(
        static_cast<double>(p.dot(state.encoder().row(j), state.encoder().row(j), state.d_in)));
    ++living;
  }
  return living > 0 ? sum / static_cast<double>(living) : 1;
}

/// Row j of a parameter [n, width] ← row, with no moments and its average there too.
void place(State& state, const std::string& name, int64_t j, const std::vector<float>& row) {
  Parameter& parameter = state.at(name);
  const auto at = static_cast<int64_t>(row.size()) * j;
  std::copy(row.begin(), row.end(), parameter.value.begin() + at);
  if (parameter.narrow.empty()) {
    std::fill_n(parameter.m.begin() + at, row.size(), 0.0f);
    std::fill_n(parameter.v.begin() + at, row.size(), 0.0f);
  } else {
    parameter.narrow.clear(j);
  }
  const auto averaged = state.averaged.find(name);
  if (averaged != state.averaged.end())
    std::copy(row.begin(), row.end(), averaged->second.begin() + at);
}

}  // namespace

bool resampling_due(const TrainConfig& train, int64_t step) {
  if (train.resample_every == 0 || step % train.resample_every != 0) return false;
  return static_cast<double>(step) < (1 - train.decay_fraction) * static_cast<double>(train.steps);
}

void check_resampling(const Variant& variant, const State& state) {
  const Reads reads = variant_entry(variant.options().model.variant).reads;
  if (state.parameters.size() == 4 && reads == Reads::one && !variant.geometry().tied) return;
  throw UsageError(
      fmt::format("train.resample_every: the variant {} has parameters of its own, a tied encoder "
                  "or more than one hook, which "
                  "resampling does not know; set it to 0",
                  variant.options().model.variant));
}

int64_t resample_dead(Context& context, const Variant& variant, State& state, ConstMatrix x,
                      uint64_t seed) {
  const int64_t dead_after = variant.options().train.dead_after_tokens;
  std::vector<int64_t> dead;
  for (int64_t j = 0; j < state.n; ++j) {
    if (state.silent[j] >= dead_after) dead.push_back(j);
  }
  if (dead.empty()) return 0;
  const std::vector<double> sums = loss_sums(context, variant, state, x);
  if (!(sums.back() > 0)) return 0;
  const double norm = kShareOfLivingNorm * mean_living_norm(context, state, dead_after);
  const float* centre = variant.geometry().centred ? state.decoder_bias() : nullptr;
  Random random{seed, kDraws, static_cast<uint64_t>(state.step)};
  for (const int64_t j : dead) {
    const double drawn = uniform(random) * sums.back();
    const int64_t row = std::upper_bound(sums.begin(), sums.end() - 1, drawn) - sums.begin();
    std::vector<float> direction(x.row(row), x.row(row) + x.cols);
    double squares = 0;
    for (int64_t c = 0; c < x.cols; ++c) {
      if (centre != nullptr) direction[c] -= centre[c];
      squares += static_cast<double>(direction[c]) * direction[c];
    }
    if (!(squares > 0)) continue;  // an input at the centre has no direction
    for (float& value : direction) value = static_cast<float>(value / std::sqrt(squares));
    place(state, "W_dec", j, direction);
    for (float& value : direction) value = static_cast<float>(value * norm);
    place(state, "W_enc", j, direction);
    place(state, "b_enc", j, {0.0f});
    state.silent[j] = 0;
  }
  state.screen.refresh(context, state.encoder());
  return static_cast<int64_t>(dead.size());
}

}  // namespace assay::sae
