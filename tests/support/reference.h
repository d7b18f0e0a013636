// Naive references: written for being obviously right, in double or in the documented order of
// summation.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <numeric>
#include <random>
#include <vector>

#include "kernels/base/view.h"
#include "kernels/primitives.h"

namespace assay::reference {

/// Standard normal numbers. Test data only: the order of draws is this platform's.
inline std::vector<float> normal(int64_t count, uint64_t seed, float scale = 1) {
  std::mt19937_64 engine(seed);
  std::normal_distribution<float> distribution(0, scale);
  std::vector<float> values(count);
  for (float& v : values) v = distribution(engine);
  return values;
}

inline ConstMatrix matrix(const std::vector<float>& values, int64_t rows, int64_t cols) {
  return {values.data(), rows, cols};
}

/// The canonical dot: lane l of 16 takes elements l, l + 16, …; then lanes fold by halves.
inline float canonical_dot(const float* a, const float* b, int64_t count) {
  std::vector<float> lanes(16, 0.0f);
  for (int64_t l = 0; l < 16; ++l) {
    for (int64_t i = l; i < count; i += 16) lanes[l] = std::fma(a[i], b[i], lanes[l]);
  }
  for (size_t width = 16; width > 1; width /= 2) {
    std::vector<float> folded(width / 2);
    for (size_t i = 0; i < width / 2; ++i) folded[i] = lanes[i] + lanes[i + width / 2];
    lanes = folded;
  }
  return lanes[0];
}

struct Winner {
  int32_t index;
  float value;
};

/// The canonical pre-activations of a row.
inline std::vector<float> scores(const float* x, ConstMatrix w, const float* bias) {
  std::vector<float> pre(w.rows);
  for (int64_t j = 0; j < w.rows; ++j) pre[j] = canonical_dot(x, w.row(j), w.cols) + bias[j];
  return pre;
}

/// The k largest pre-activations (of scale·pre where there is a scale), ties to the smaller index,
/// in index order.
inline std::vector<Winner> winners(const std::vector<float>& pre, int64_t k,
                                   const float* scale = nullptr) {
  std::vector<Winner> all(pre.size());
  for (size_t j = 0; j < pre.size(); ++j) all[j] = {static_cast<int32_t>(j), pre[j]};
  const auto rank = [scale](const Winner& v) {
    return scale != nullptr ? v.value * scale[v.index] : v.value;
  };
  std::stable_sort(all.begin(), all.end(),
                   [&](const Winner& a, const Winner& b) { return rank(a) > rank(b); });
  all.resize(k);
  std::sort(all.begin(), all.end(),
            [](const Winner& a, const Winner& b) { return a.index < b.index; });
  return all;
}

inline std::vector<Winner> encode_row(const float* x, ConstMatrix w, const float* bias, int64_t k) {
  return winners(scores(x, w, bias), k);
}

/// Adam's step (Kingma and Ba 2015, algorithm 1) of one parameter.
inline void adam(const AdamStep& s, double gradient, double& p, double& m, double& v) {
  m = s.beta1 * m + (1 - s.beta1) * gradient;
  v = s.beta2 * v + (1 - s.beta2) * gradient * gradient;
  p -= s.lr * m / (std::sqrt(v * s.v_scale) + s.eps);
}

/// The k largest of a row, ties to the smaller index, largest first.
inline std::vector<Winner> topk_row(const float* z, int64_t n, int64_t k) {
  std::vector<Winner> all(n);
  for (int64_t j = 0; j < n; ++j) all[j] = {static_cast<int32_t>(j), z[j]};
  std::stable_sort(all.begin(), all.end(),
                   [](const Winner& a, const Winner& b) { return a.value > b.value; });
  all.resize(k);
  return all;
}

}  // namespace assay::reference
