#include <cmath>
#include <numbers>

#include "data/random.h"
#include "sae/topk.h"

namespace assay::sae {

TopKState::TopKState(int64_t n_, int64_t d_)
    : n(n_), d(d_), w_enc(n * d), w_dec(n * d), b_enc(n), b_dec(d), silent(n), screen(n, d) {}

void initialise(Context& context, TopKState& state, uint64_t seed) {
  constexpr int64_t kTask = 64;
  context.pool().run((state.n + kTask - 1) / kTask, [&](int64_t task, int) {
    for (int64_t j = task * kTask; j < std::min(state.n, (task + 1) * kTask); ++j) {
      data::Random random{seed, 0x696e6974, static_cast<uint64_t>(j)};
      const auto uniform = [&] { return (static_cast<double>(random.next() >> 11) + 0.5) * 0x1p-53; };
      std::vector<double> row(state.d);
      double squares = 0;
      for (double& value : row) {
        // Box and Muller 1958; normal coordinates point in uniform directions.
        value = std::sqrt(-2 * std::log(uniform())) * std::cos(2 * std::numbers::pi * uniform());
        squares += value * value;
      }
      for (int64_t i = 0; i < state.d; ++i) {
        const auto value = static_cast<float>(row[i] / std::sqrt(squares));
        state.w_dec.value[j * state.d + i] = state.w_enc.value[j * state.d + i] = value;
      }
    }
  });
  state.screen.refresh(context, state.encoder());
}

std::vector<float> geometric_median(ConstMatrix x) {
  std::vector<double> median(x.cols), next(x.cols);
  for (int64_t i = 0; i < x.rows; ++i) {
    for (int64_t c = 0; c < x.cols; ++c) median[c] += x.row(i)[c] / static_cast<double>(x.rows);
  }
  for (int round = 0; round < 200; ++round) {
    std::fill(next.begin(), next.end(), 0.0);
    double weights = 0;
    for (int64_t i = 0; i < x.rows; ++i) {
      double squares = 0;
      for (int64_t c = 0; c < x.cols; ++c) squares += (x.row(i)[c] - median[c]) * (x.row(i)[c] - median[c]);
      const double weight = 1 / std::max(std::sqrt(squares), 1e-12);
      weights += weight;
      for (int64_t c = 0; c < x.cols; ++c) next[c] += weight * x.row(i)[c];
    }
    double moved = 0, length = 0;
    for (int64_t c = 0; c < x.cols; ++c) {
      next[c] /= weights;
      moved += (next[c] - median[c]) * (next[c] - median[c]);
      length += next[c] * next[c];
    }
    median.swap(next);
    if (moved <= 1e-12 * length) break;
  }
  return {median.begin(), median.end()};
}

}  // namespace assay::sae
