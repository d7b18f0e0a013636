// A model whose upper half is linear in the mean over the masked-in tokens, its matrix trained by
// plain steps.
#pragma once

#include <algorithm>
#include <cmath>
#include <vector>

#include "sae/model_half.h"

namespace assay::eval::test {

class LinearHalf : public sae::TrainableHalf {
 public:
  /// `special`: what an entry of a special token counts as; planted ones hold a huge constant.
  explicit LinearHalf(int64_t d, float special = 10)
      : d_(d), special_(special), w_(static_cast<size_t>(d * d)) {
    for (int64_t j = 0; j < d_; ++j) w_[j * d_ + j] = 0.1;
  }
  int64_t d() const override { return d_; }
  int64_t d_out() const override { return d_; }
  void run(const float* x, const int64_t* mask, int64_t batch, int64_t length,
           float* out) const override {
    for (int64_t b = 0; b < batch; ++b) {
      const std::vector<double> mean = mean_of(x + b * length * d_, mask + b * length, length);
      for (int64_t i = 0; i < d_; ++i) {
        double sum = 0;
        for (int64_t j = 0; j < d_; ++j) sum += w_[i * d_ + j] * mean[j];
        out[b * d_ + i] = static_cast<float>(sum);
      }
    }
  }
  void gradient(const float* x, const int64_t* mask, int64_t batch, int64_t length,
                const float* d_out, float* out, float* d_x) const override {
    run(x, mask, batch, length, out);
    for (int64_t b = 0; b < batch; ++b) {
      const int64_t* own = mask + b * length;
      const auto tokens = static_cast<double>(std::count(own, own + length, 1));
      for (int64_t j = 0; j < d_; ++j) {
        double sum = 0;
        for (int64_t i = 0; i < d_; ++i) sum += d_out[b * d_ + i] * w_[i * d_ + j];
        for (int64_t t = 0; t < length; ++t) {
          const int64_t at = (b * length + t) * d_ + j;
          d_x[at] = own[t] && x[at] < kMost ? static_cast<float>(sum / tokens) : 0.0f;
        }
      }
    }
  }
  void step(const float* x, const int64_t* mask, int64_t batch, int64_t length,
            const std::function<void(const float*, float*)>& loss_gradient,
            double learning_rate) override {
    std::vector<float> out(static_cast<size_t>(batch * d_)), g(out.size());
    run(x, mask, batch, length, out.data());
    loss_gradient(out.data(), g.data());
    for (int64_t b = 0; b < batch; ++b) {
      const std::vector<double> mean = mean_of(x + b * length * d_, mask + b * length, length);
      for (int64_t i = 0; i < d_; ++i)
        for (int64_t j = 0; j < d_; ++j)
          w_[i * d_ + j] -= 20 * learning_rate * g[b * d_ + i] * mean[j];
    }
  }

 private:
  static constexpr float kMost = 100;

  std::vector<double> mean_of(const float* x, const int64_t* mask, int64_t length) const {
    std::vector<double> mean(static_cast<size_t>(d_), 0.0);
    double count = 0;
    for (int64_t t = 0; t < length; ++t) {
      if (!mask[t]) continue;
      for (int64_t j = 0; j < d_; ++j) mean[j] += x[t * d_ + j] < kMost ? x[t * d_ + j] : special_;
      count += 1;
    }
    for (double& m : mean) m /= count;
    return mean;
  }

  int64_t d_;
  float special_;
  std::vector<double> w_;
};

}  // namespace assay::eval::test
