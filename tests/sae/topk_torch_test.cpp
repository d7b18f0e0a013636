// One step of ours against one step of a naive dense implementation with torch's autograd, in
// double, from 20 states of a real run; and both run freely from the same start.
#include <gtest/gtest.h>
#include <torch/torch.h>

#include "sae/variants/variants.h"
#include "tests/support/planted.h"

namespace assay::sae {
namespace {

using torch::Tensor;

constexpr int64_t kRows = 256, kD = 48, kN = 400, kK = 8, kAux = 24;
constexpr double kVariance = 0.9, kLr = 1e-3, kBeta1 = 0.9, kBeta2 = 0.999, kEps = 6.25e-10,
                 kCoefficient = 1.0 / 32;
constexpr int64_t kDeadAfter = kRows;  // soon, so that AuxK has latents to revive

Tensor tensor(const std::vector<float>& values, at::IntArrayRef shape) {
  return torch::from_blob(const_cast<float*>(values.data()), shape, torch::kFloat32)
      .to(torch::kFloat64);
}

struct Dense {
  struct P {
    Tensor value, m, v;
  };
  P w_enc, w_dec, b_enc, b_dec;
  Tensor silent;
  int64_t step = 0;

  static P parameter(const Parameter& p, at::IntArrayRef shape) {
    return {tensor(p.value, shape).requires_grad_(true), tensor(p.m, shape), tensor(p.v, shape)};
  }
  explicit Dense(const State& s)
      : w_enc(parameter(s.at("W_enc"), {kN, kD})),
        w_dec(parameter(s.at("W_dec"), {kN, kD})),
        b_enc(parameter(s.at("b_enc"), {kN})),
        b_dec(parameter(s.at("b_dec"), {kD})),
        silent(torch::tensor(s.silent)),
        step(s.step) {}

  static Tensor relu_topk(const Tensor& pre, int64_t k) {
    const auto [values, indices] = pre.topk(k, 1);
    return torch::zeros_like(pre).scatter(1, indices, values.relu());
  }

  void adam(P& p) {
    torch::NoGradGuard guard;
    const double t = static_cast<double>(step);
    const Tensor g = p.value.grad();
    p.m = kBeta1 * p.m + (1 - kBeta1) * g;
    p.v = kBeta2 * p.v + (1 - kBeta2) * g * g;
    p.value -=
        kLr / (1 - std::pow(kBeta1, t)) * p.m / ((p.v / (1 - std::pow(kBeta2, t))).sqrt() + kEps);
    p.value.mutable_grad().reset();
  }

  /// Returns the loss; `codes` receives the main selection.
  double run(const Tensor& x, Tensor& codes, Tensor& gap) {
    const Tensor pre = torch::matmul(x - b_dec.value, w_enc.value.t()) + b_enc.value;
    codes = relu_topk(pre, kK);
    const Tensor sorted = std::get<0>(pre.topk(kK + 1, 1));
    gap = sorted.select(1, kK - 1) - sorted.select(1, kK);
    const Tensor residual = x - torch::matmul(codes, w_dec.value) - b_dec.value;
    Tensor loss = residual.pow(2).sum(1).mean() / kVariance;
    silent = torch::where((codes > 0).any(0), torch::zeros_like(silent), silent + kRows);
    const Tensor dead = silent >= kDeadAfter;
    const int64_t count = dead.sum().item<int64_t>();
    if (count > 0) {
      const Tensor r = residual.detach();
      const Tensor aux =
          relu_topk(pre.masked_fill(dead.logical_not(), -1e30), std::min(kAux, count));
      const Tensor variance = (r - r.mean(0)).pow(2).sum(1).mean();
      loss = loss +
             kCoefficient * (r - torch::matmul(aux, w_dec.value)).pow(2).sum(1).mean() / variance;
    }
    loss.backward();
    {
      torch::NoGradGuard guard;
      Tensor& g = w_dec.value.mutable_grad();
      g -= (g * w_dec.value).sum(1, true) * w_dec.value;
    }
    ++step;
    for (P* p : {&w_enc, &w_dec, &b_enc, &b_dec}) adam(*p);
    torch::NoGradGuard guard;
    w_dec.value /= w_dec.value.norm(2, 1, true);
    return loss.item<double>();
  }
};

double relative(const Tensor& expected, const std::vector<float>& found) {
  return ((tensor(found, expected.sizes()) - expected).norm() / expected.norm()).item<double>();
}

/// Rows of codes whose winners differ although the k-th and the next score are at least 1e-5 apart.
int64_t wrong_rows(const Tensor& codes, const Tensor& gap, const SparseCodes& ours) {
  int64_t wrong = 0;
  for (int64_t i = 0; i < kRows; ++i) {
    if (gap[i].item<double>() < 1e-5) continue;
    for (int64_t p = ours.row_offsets[i]; p < ours.row_offsets[i + 1]; ++p) {
      const double theirs = codes[i][ours.indices[p]].item<double>();
      if (std::abs(theirs - ours.values[p]) > 1e-4) {
        ++wrong;
        break;
      }
    }
  }
  return wrong;
}

struct Fixture {
  Context context{{Device::cpu, 2}};
  std::unique_ptr<Variant> variant = make();
  State state = variant->create();
  NumericFlag flag;

  Fixture() {
    torch::set_num_threads(1);
    const auto x = batch(0);
    const ConstMatrix rows(x.data(), kRows, kD);
    variant->initialise(context, state, 3, {rows, rows});
  }
  static std::unique_ptr<Variant> make() {
    ModelConfig model;
    model.n = kN;
    model.k = kK;
    TrainConfig train;
    train.aux_k = kAux;
    train.aux_coefficient = kCoefficient;
    train.dead_after_tokens = kDeadAfter;
    train.beta1 = kBeta1;
    train.beta2 = kBeta2;
    train.eps = kEps;
    return make_variant({model, with_defaults(train, model, kD), kD, kD, kVariance});
  }
  static std::vector<float> batch(int64_t t) {
    return support::planted_activations(kRows, kD, 150, 5, 1000 + t);
  }
  StepReport run(const std::vector<float>& x) {
    const ConstMatrix rows(x.data(), kRows, kD);
    return variant->step(context, state, {rows, rows}, kLr, flag);
  }
};

TEST(TopKAgainstTorch, OneStepFromTwentyStates) {
  Fixture f;
  int64_t with_dead = 0;
  for (int64_t t = 0; t < 100; ++t) {
    const auto x = Fixture::batch(t);
    if (t % 5 != 0) {
      f.run(x);
      continue;
    }
    Dense dense(f.state);
    Tensor codes, gap;
    const double loss = dense.run(tensor(x, {kRows, kD}), codes, gap);
    const StepReport report = f.run(x);
    with_dead += report.dead > 0;
    EXPECT_NEAR(report.loss, loss, 1e-5 * loss) << "state " << t;
    EXPECT_EQ(wrong_rows(codes, gap, f.variant->codes()), 0) << "state " << t;
    EXPECT_LT(relative(dense.w_enc.value, f.state.at("W_enc").value), 1e-5) << "state " << t;
    EXPECT_LT(relative(dense.w_dec.value, f.state.at("W_dec").value), 1e-5) << "state " << t;
    EXPECT_LT(relative(dense.b_enc.value, f.state.at("b_enc").value), 1e-5) << "state " << t;
    EXPECT_LT(relative(dense.b_dec.value, f.state.at("b_dec").value), 1e-5) << "state " << t;
  }
  EXPECT_GT(with_dead, 5) << "AuxK was not exercised";
}

TEST(TopKAgainstTorch, FreeRunningLossesStayTogether) {
  Fixture f;
  Dense dense(f.state);
  double first = 0, last = 0;
  for (int64_t t = 0; t < 100; ++t) {
    const auto x = Fixture::batch(t);
    Tensor codes, gap;
    const double theirs = dense.run(tensor(x, {kRows, kD}), codes, gap);
    const double ours = f.run(x).loss;
    EXPECT_NEAR(ours, theirs, 1e-4) << "step " << t;
    (t == 0 ? first : last) = ours;
  }
  EXPECT_LT(last, 0.7 * first);
}

}  // namespace
}  // namespace assay::sae
