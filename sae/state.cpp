#include "sae/state.h"

#include <cmath>
#include <functional>
#include <numbers>
#include <numeric>

#include "kernels/base/random.h"

namespace assay::sae {

namespace {

int64_t elements(const std::vector<int64_t>& shape) {
  return std::accumulate(shape.begin(), shape.end(), int64_t{1}, std::multiplies<>());
}

}  // namespace

Parameter::Parameter(std::vector<int64_t> shape_, MomentType moments)
    : shape(std::move(shape_)), value(elements(shape)) {
  if (moments == MomentType::fp32) {
    m.resize(value.size());
    v.resize(value.size());
  } else {
    narrow = NarrowMoments(moments, shape[0], shape[1]);
  }
}

State::State(int64_t n_, int64_t d_in_, int64_t d_out_, MomentType moments)
    : n(n_), d_in(d_in_), d_out(d_out_), silent(n), screen(n, d_in) {
  parameters["W_enc"] = Parameter({n, d_in}, moments);
  parameters["W_dec"] = Parameter({n, d_out}, moments);
  add("b_enc", {n});
  add("b_dec", {d_out});
}

int64_t State::bytes() const {
  size_t floats = 0, codes = 0;
  for (const auto& [name, p] : parameters) {
    floats += p.value.size() + p.m.size() + p.v.size();
    for (const NarrowMoment* moment : {&p.narrow.m, &p.narrow.v}) {
      floats += moment->scales.size();
      codes += moment->codes.size();
    }
  }
  for (const auto& [name, values] : averaged) floats += values.size();
  return static_cast<int64_t>(floats * sizeof(float) + codes + silent.size() * sizeof(int64_t));
}

State State::without_screen() const {
  State copy(0, 0, 0);
  copy.n = n;
  copy.d_in = d_in;
  copy.d_out = d_out;
  copy.parameters = parameters;
  copy.numbers = numbers;
  copy.averaged = averaged;
  copy.silent = silent;
  copy.step = step;
  return copy;
}

LatentState State::latents() {
  Parameter &enc = at("W_enc"), &dec = at("W_dec"), &bias = at("b_enc");
  const auto view = [&](std::vector<float>& values, int64_t cols) {
    return Matrix(values.data(), n, cols);
  };
  const auto narrow = [](Parameter& p) { return p.narrow.empty() ? nullptr : &p.narrow; };
  return {view(enc.value, d_in), view(enc.m, d_in),
          view(enc.v, d_in),     view(dec.value, d_out),
          view(dec.m, d_out),    view(dec.v, d_out),
          bias.value.data(),     bias.m.data(),
          bias.v.data(),         &screen,
          narrow(enc),           narrow(dec)};
}

void unit_rows(Context& context, uint64_t seed, Matrix out) {
  constexpr int64_t kTask = 64;
  context.pool().run((out.rows + kTask - 1) / kTask, [&](int64_t task, int) {
    for (int64_t j = task * kTask; j < std::min(out.rows, (task + 1) * kTask); ++j) {
      Random random{seed, 0x696e6974, static_cast<uint64_t>(j)};
      const auto uniform = [&] {
        return (static_cast<double>(random.next() >> 11) + 0.5) * 0x1p-53;
      };
      std::vector<double> row(out.cols);
      double squares = 0;
      for (double& value : row) {
        // Box and Muller 1958; normal coordinates point in uniform directions.
        value = std::sqrt(-2 * std::log(uniform())) * std::cos(2 * std::numbers::pi * uniform());
        squares += value * value;
      }
      for (int64_t i = 0; i < out.cols; ++i)
        out.row(j)[i] = static_cast<float>(row[i] / std::sqrt(squares));
    }
  });
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
      for (int64_t c = 0; c < x.cols; ++c)
        squares += (x.row(i)[c] - median[c]) * (x.row(i)[c] - median[c]);
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
