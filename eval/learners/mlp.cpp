#include "eval/learners/mlp.h"

#include <fmt/format.h>

#include <Eigen/Core>
#include <algorithm>
#include <cmath>

#include "kernels/base/error.h"
#include "kernels/base/random.h"

namespace assay::eval {
namespace {

using Rows = Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
using Vector = Eigen::VectorXf;

/// One parameter tensor, its gradient and Adam's moments.
struct Parameter {
  Vector value, gradient, first, second;
  bool decays;

  Parameter(int64_t size, bool decay) : decays(decay) {
    for (Vector* part : {&value, &gradient, &first, &second}) *part = Vector::Zero(size);
  }
  void step(float rate, float decay, int64_t t) {
    first += 0.1f * (gradient - first);
    second += 0.001f * (gradient.cwiseAbs2() - second);
    const float bias1 = 1 - std::pow(0.9f, static_cast<float>(t)),
                bias2 = 1 - std::pow(0.999f, static_cast<float>(t));
    if (decays) value *= 1 - rate * decay;
    value.array() -= rate / bias1 * first.array() / ((second.array() / bias2).sqrt() + 1e-8f);
  }
};

struct Network {
  Network(int64_t features, int64_t width, Rng& rng)
      : f(features), h(width), w(f * h, true), b(h, false), v(h, true), c(1, false) {
    const double scale = std::sqrt(2.0 / static_cast<double>(f));
    for (float& value : w.value) value = static_cast<float>(scale * rng.normal());
    for (float& value : v.value)
      value = static_cast<float>(rng.normal() / std::sqrt(static_cast<double>(h)));
  }

  /// Sets the gradients of the batch's mean ½(score − target)².
  void backward(const Rows& z, const Vector& targets) {
    const Eigen::Map<const Rows> weights(w.value.data(), h, f);
    Rows active = z * weights.transpose();
    active.rowwise() += b.value.transpose();
    active = active.cwiseMax(0.0f);
    Vector error = active * v.value;
    error = (error.array() + c.value[0] - targets.array()) / static_cast<float>(z.rows());
    v.gradient.noalias() = active.transpose() * error;
    c.gradient[0] = error.sum();
    Rows back = error * v.value.transpose();
    back = (active.array() > 0).select(back, 0.0f);
    b.gradient = back.colwise().sum().transpose();
    Eigen::Map<Rows>(w.gradient.data(), h, f).noalias() = back.transpose() * z;
  }

  int64_t f, h;
  Parameter w, b, v, c;
};

std::vector<float> copy_of(const Vector& values) { return {values.begin(), values.end()}; }

}  // namespace

std::vector<float> Mlp::hidden_input(ConstMatrix z) const {
  if (z.cols != features)
    throw Error(fmt::format("network: {} features, expected {}", z.cols, features));
  Rows result = Eigen::Map<const Rows>(z.data, z.rows, z.cols) *
                Eigen::Map<const Rows>(w.data(), hidden, features).transpose();
  result.rowwise() += Eigen::Map<const Vector>(b.data(), hidden).transpose();
  return {result.data(), result.data() + result.size()};
}

std::vector<float> Mlp::score(ConstMatrix z) const {
  const std::vector<float> input = hidden_input(z);
  const Eigen::Map<const Rows> rows(input.data(), z.rows, hidden);
  const Vector scores =
      (rows.cwiseMax(0.0f) * Eigen::Map<const Vector>(v.data(), hidden)).array() + c;
  return copy_of(scores);
}

std::vector<double> Mlp::gradient_sums(ConstMatrix z, std::span<const int32_t> group,
                                       int64_t groups) const {
  const std::vector<float> input = hidden_input(z);
  // How many rows of each group switch each hidden unit on: the gradient of one row is Σ over its
  // units of v·w.
  std::vector<double> on(static_cast<size_t>(groups * hidden));
  for (int64_t i = 0; i < z.rows; ++i)
    for (int64_t j = 0; j < hidden; ++j) on[group[i] * hidden + j] += input[i * hidden + j] > 0;
  std::vector<double> sums(static_cast<size_t>(groups * features));
  for (int64_t g = 0; g < groups; ++g)
    for (int64_t j = 0; j < hidden; ++j) {
      const double weight = on[g * hidden + j] * v[j];
      for (int64_t k = 0; k < features; ++k) sums[g * features + k] += weight * w[j * features + k];
    }
  return sums;
}

Mlp train_mlp(ConstMatrix z, std::span<const float> targets, const MlpOptions& options,
              uint64_t seed) {
  if (z.rows < 1 || std::ssize(targets) != z.rows)
    throw Error(fmt::format("network: {} rows and {} targets, expected as many of both", z.rows,
                            targets.size()));
  Rng rng(seed);
  Network net(z.cols, options.hidden, rng);
  const Eigen::Map<const Rows> rows(z.data, z.rows, z.cols);
  const int64_t batches = (z.rows + options.batch - 1) / options.batch,
                steps = batches * options.epochs;
  Rows batch;
  Vector wanted;
  for (int64_t step = 0; step < steps;) {
    const std::vector<int64_t> order = rng.permutation(z.rows);
    for (int64_t first = 0; first < z.rows; first += options.batch) {
      const int64_t count = std::min(options.batch, z.rows - first);
      batch.resize(count, z.cols);
      wanted.resize(count);
      for (int64_t i = 0; i < count; ++i) {
        batch.row(i) = rows.row(order[first + i]);
        wanted[i] = targets[order[first + i]];
      }
      net.backward(batch, wanted);
      const auto rate = static_cast<float>(
          options.learning_rate * (1 - static_cast<double>(step) / static_cast<double>(steps)));
      ++step;
      for (Parameter* p : {&net.w, &net.b, &net.v, &net.c})
        p->step(rate, static_cast<float>(options.weight_decay), step);
    }
  }
  Mlp mlp{z.cols,
          options.hidden,
          copy_of(net.w.value),
          copy_of(net.b.value),
          copy_of(net.v.value),
          net.c.value[0]};
  if (!net.w.value.allFinite() || !net.v.value.allFinite() || !std::isfinite(mlp.c))
    throw Error(
        "network: training diverged to values that are not finite; lower the learning rate");
  return mlp;
}

}  // namespace assay::eval
