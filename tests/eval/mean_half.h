// A model whose upper half is the mean over the masked-in tokens, then a tanh so that it is not
// linear.
#pragma once

#include <algorithm>
#include <cmath>

#include "kernels/base/error.h"
#include "sae/model_half.h"

namespace assay::eval::test {

class MeanHalf : public sae::UpperHalf {
 public:
  explicit MeanHalf(int64_t d) : d_(d) {}
  int64_t d() const override { return d_; }
  int64_t d_out() const override { return d_; }
  void run(const float* x, const int64_t* mask, int64_t batch, int64_t tokens,
           float* out) const override {
    for (int64_t b = 0; b < batch; ++b)
      for (int64_t j = 0; j < d_; ++j) {
        double sum = 0, count = 0;
        for (int64_t t = 0; t < tokens; ++t) {
          if (!mask[b * tokens + t]) continue;
          sum += std::min(x[(b * tokens + t) * d_ + j], 10.0f);
          ++count;
        }
        out[b * d_ + j] = static_cast<float>(std::tanh(sum / count / 4));
      }
  }
  void gradient(const float*, const int64_t*, int64_t, int64_t, const float*, float*,
                float*) const override {
    throw Error("not needed here");
  }

 private:
  int64_t d_;
};

}  // namespace assay::eval::test
