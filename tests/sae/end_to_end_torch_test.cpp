// The end-to-end loss against torch's autograd through a model that torch itself runs.
#include <gtest/gtest.h>
#include <torch/torch.h>

#include <algorithm>
#include <cmath>

#include "kernels/base/error.h"
#include "sae/end_to_end.h"
#include "tests/sae/variant_support.h"

namespace assay::sae {
namespace {

using namespace test;
using torch::Tensor;

constexpr int64_t kOut = 7;
constexpr double kScale = 0.25;
constexpr float kShift = 0.5f;

Units units(float shift) {
  return {std::vector<float>(kD, shift), std::vector<double>(kD, kScale), shift != 0};
}

/// out = mean over tokens of tanh(x A + (mean over tokens of x) B): tokens act on one another,
/// padding does not.
class TorchHalf : public UpperHalf {
 public:
  TorchHalf() {
    torch::manual_seed(0);
    a_ = torch::randn({kD, kOut}, torch::kFloat64);
    b_ = torch::randn({kD, kOut}, torch::kFloat64);
  }
  int64_t d() const override { return kD; }
  int64_t d_out() const override { return kOut; }
  Tensor forward(const Tensor& residual, const Tensor& mask) const {
    const Tensor weight = (mask / mask.sum(1, true)).unsqueeze(2);
    const Tensor mean = (residual * weight).sum(1, true);
    return ((torch::matmul(residual, a_) + torch::matmul(mean, b_)).tanh() * weight).sum(1);
  }
  void run(const float* residual, const int64_t* mask, int64_t batch, int64_t length,
           float* out) const override {
    const Tensor result =
        forward(tensor(residual, {batch, length, kD}), tokens(mask, batch, length));
    std::copy_n(result.to(torch::kFloat32).contiguous().data_ptr<float>(), batch * kOut, out);
  }
  void gradient(const float* residual, const int64_t* mask, int64_t batch, int64_t length,
                const float* d_out, float* out, float* d_residual) const override {
    const Tensor x = tensor(residual, {batch, length, kD}).requires_grad_(true);
    const Tensor result = forward(x, tokens(mask, batch, length));
    result.backward(tensor(d_out, {batch, kOut}));
    std::copy_n(result.detach().to(torch::kFloat32).contiguous().data_ptr<float>(), batch * kOut,
                out);
    std::copy_n(x.grad().to(torch::kFloat32).contiguous().data_ptr<float>(), batch * length * kD,
                d_residual);
  }
  static Tensor tensor(const float* values, at::IntArrayRef shape) {
    return torch::from_blob(const_cast<float*>(values), shape, torch::kFloat32).to(torch::kFloat64);
  }
  static Tensor tokens(const int64_t* mask, int64_t batch, int64_t length) {
    return torch::from_blob(const_cast<int64_t*>(mask), {batch, length}, torch::kInt64)
        .to(torch::kFloat64);
  }

 private:
  Tensor a_, b_;
};

/// Texts of 3 to 9 tokens whose first and last are special.
TextBatch some_texts(int64_t texts) {
  TextBatch batch;
  for (int64_t t = 0; t < texts; ++t) {
    const int64_t length = 3 + t % 7;
    batch.lengths.push_back(length);
    for (int64_t i = 0; i < length; ++i) batch.special.push_back(i == 0 || i == length - 1);
  }
  const auto tokens = static_cast<int64_t>(batch.special.size());
  batch.raw = support::planted_activations(tokens, kD, 60, 4, 3);
  for (float& value : batch.raw) value *= 4;
  return batch;
}

double expected_loss(const TorchHalf& half, const TextBatch& batch, OutputLoss kind,
                     const Tensor& reconstruction) {
  Tensor sum = torch::zeros({}, torch::kFloat64);
  for (size_t t = 0, token = 0, row = 0; t < batch.lengths.size(); ++t) {
    const int64_t length = batch.lengths[t];
    const Tensor x = TorchHalf::tensor(batch.raw.data() + token * kD, {1, length, kD});
    Tensor spliced = x.clone();
    for (int64_t i = 0; i < length; ++i, ++token) {
      if (!batch.special[token]) spliced[0][i] = reconstruction[row++] / kScale + kShift;
    }
    const Tensor mask = torch::ones({1, length}, torch::kFloat64);
    const Tensor o = half.forward(x, mask), changed = half.forward(spliced, mask);
    if (kind == OutputLoss::cosine) {
      sum = sum + 1 - torch::cosine_similarity(o, changed, 1)[0];
    } else {
      sum =
          sum + (torch::softmax(o, 1) * (torch::log_softmax(o, 1) - torch::log_softmax(changed, 1)))
                    .sum();
    }
  }
  const Tensor mean = sum / static_cast<double>(batch.lengths.size());
  mean.backward();
  return mean.item<double>();
}

class EndToEndLoss : public testing::TestWithParam<OutputLoss> {};

TEST_P(EndToEndLoss, IsAutogradsThroughTheModel) {
  torch::set_num_threads(1);
  const TorchHalf half;
  const TextBatch batch = some_texts(11);
  std::vector<float> x_hat = batch.rows(units(kShift));
  const auto noise = support::planted_activations(batch.ordinary(), kD, 60, 4, 9);
  for (size_t i = 0; i < x_hat.size(); ++i) x_hat[i] = 0.8f * x_hat[i] + 0.3f * noise[i];
  const ConstMatrix rows(x_hat.data(), batch.ordinary(), kD);
  const Tensor wanted = TorchHalf::tensor(x_hat.data(), {rows.rows, kD}).requires_grad_(true);
  const double loss = expected_loss(half, batch, GetParam(), wanted);

  const SparseCodes none;
  std::vector<float> first;
  for (const int threads : {1, 3}) {
    Context context({Device::cpu, threads});
    EndToEnd end_to_end(context, half, GetParam(), 0.25, units(kShift), 4);
    end_to_end.load(batch);
    const OutsideGradient found = end_to_end.differentiate({none, rows, 0.6});
    EXPECT_NEAR(end_to_end.divergence(), loss, 1e-6 * loss);
    EXPECT_NEAR(found.loss, 0.25 * 0.6, 1e-9);  // balanced with the FVU it is given
    EXPECT_DOUBLE_EQ(found.error_weight, 0.75);
    const Tensor gradient = TorchHalf::tensor(found.d_reconstruction.data(), {rows.rows, kD});
    const Tensor expected = wanted.grad() * (0.25 * 0.6 / loss);
    EXPECT_LT((gradient - expected).norm().item<double>(), 1e-5 * expected.norm().item<double>());
    if (first.empty()) first = found.d_reconstruction;
    EXPECT_EQ(found.d_reconstruction, first);
  }
}

INSTANTIATE_TEST_SUITE_P(Losses, EndToEndLoss,
                         testing::Values(OutputLoss::cosine, OutputLoss::logits));

TEST(EndToEndLoss, PerfectReconstructionsCostNothing) {
  const TorchHalf half;
  Context context({Device::cpu, 1});
  const TextBatch batch = some_texts(5);
  EndToEnd end_to_end(context, half, OutputLoss::cosine, 0.5, units(0), 4);
  end_to_end.load(batch);
  const std::vector<float> x = batch.rows(units(0));
  const SparseCodes none;
  const OutsideGradient found =
      end_to_end.differentiate({none, {x.data(), batch.ordinary(), kD}, 0});
  EXPECT_NEAR(end_to_end.divergence(), 0, 1e-12);
  for (const float value : found.d_reconstruction) EXPECT_EQ(value, 0);
}

}  // namespace
}  // namespace assay::sae
