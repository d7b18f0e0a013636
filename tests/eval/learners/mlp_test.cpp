#include "eval/learners/mlp.h"

#include <gtest/gtest.h>

#include <cmath>

#include "kernels/base/error.h"
#include "kernels/base/random.h"

namespace assay::eval {
namespace {

struct Data {
  std::vector<float> x, y;
  ConstMatrix view(int64_t first, int64_t rows) const { return {x.data() + first * 6, rows, 6}; }
};

/// y = 2 x0 − x1 + |x2|, which no linear map fits.
Data make_data(int64_t rows) {
  Data data;
  Rng rng(3);
  for (int64_t i = 0; i < rows; ++i) {
    for (int j = 0; j < 6; ++j) data.x.push_back(static_cast<float>(rng.normal()));
    const float* x = data.x.data() + i * 6;
    data.y.push_back(2 * x[0] - x[1] + std::abs(x[2]));
  }
  return data;
}

Mlp fit(const Data& data) {
  MlpOptions options;
  options.hidden = 24;
  options.epochs = 60;
  return train_mlp(data.view(0, 1500), std::span(data.y).first(1500), options, 5);
}

TEST(Mlp, LearnsAFunctionThatBends) {
  const Data data = make_data(2000);
  const std::vector<float> scores = fit(data).score(data.view(1500, 500));
  double error = 0, total = 0;
  for (size_t i = 0; i < 500; ++i) {
    const double y = data.y[1500 + i];
    error += (scores[i] - y) * (scores[i] - y);
    total += y * y;
  }
  EXPECT_LT(error, 0.02 * total);
}

TEST(Mlp, GradientsAreTheScoresSlopes) {
  const Data data = make_data(1520);
  const Mlp mlp = fit(data);
  const std::vector<int32_t> group{0, 1, 0, 2, 0, 1, 0, 1, 0, 1, 0, 1, 0, 1, 0, 1, 0, 1, 0, 1};
  const std::vector<double> sums = mlp.gradient_sums(data.view(1500, 20), group, 3);
  std::vector<double> expected(3 * 6);
  for (int64_t i = 0; i < 20; ++i)
    for (int64_t j = 0; j < 6; ++j) {
      std::vector<float> two(data.x.begin() + (1500 + i) * 6, data.x.begin() + (1501 + i) * 6);
      two.insert(two.end(), two.begin(), two.begin() + 6);
      const float step = 1e-3f;
      two[j] -= step;
      two[6 + j] += step;
      const std::vector<float> s = mlp.score({two.data(), 2, 6});
      expected[group[i] * 6 + j] += (s[1] - s[0]) / (two[6 + j] - two[j]);
    }
  for (size_t i = 0; i < sums.size(); ++i) EXPECT_NEAR(sums[i], expected[i], 0.06) << i;
}

TEST(Mlp, ShiftsMoveTheHiddenInputAlike) {
  const Data data = make_data(1500);
  const Mlp mlp = fit(data);
  std::vector<float> moved(data.x.begin(), data.x.begin() + 12);
  for (int64_t j = 0; j < 6; ++j) {
    moved[j] += 0.5f;
    moved[6 + j] += 0.5f;
  }
  const std::vector<float> before = mlp.hidden_input(data.view(0, 2)),
                           after = mlp.hidden_input({moved.data(), 2, 6});
  for (int64_t j = 0; j < mlp.hidden; ++j)
    EXPECT_NEAR(after[j] - before[j], after[mlp.hidden + j] - before[mlp.hidden + j], 1e-4);
}

TEST(Mlp, SameSeedSameBitsAndMisfitsAreNamed) {
  const Data data = make_data(1500);
  const Mlp a = fit(data), b = fit(data);
  EXPECT_EQ(a.w, b.w);
  EXPECT_EQ(a.v, b.v);
  EXPECT_THROW(a.score({data.x.data(), 3, 5}), Error);
  EXPECT_THROW(train_mlp(data.view(0, 10), std::span(data.y).first(9), {}, 1), Error);
}

}  // namespace
}  // namespace assay::eval
