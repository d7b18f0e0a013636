// The gradient of every variant against torch's autograd of a naive dense implementation in double,
// through AuxK, nested reconstructions and thresholds. After Adam's first step m = (1 −
// β1)·gradient.
#include <gtest/gtest.h>
#include <torch/torch.h>

#include <cmath>
#include <map>

#include "tests/sae/variant_support.h"

namespace assay::sae {
namespace {

using namespace test;
using torch::Tensor;
using Tensors = std::map<std::string, Tensor>;

Tensor tensor(const std::vector<float>& values, at::IntArrayRef shape) {
  return torch::from_blob(const_cast<float*>(values.data()), shape, torch::kFloat32)
      .to(torch::kFloat64);
}

/// What a dense loss is computed from.
struct Dense {
  Tensors w;
  Tensor x, y, silent;
  VariantOptions options;
  std::map<std::string, double> numbers;
  double error_weight = 1;
  mutable Tensor codes{};  // those that the reported reconstruction is made of

  Tensor pre(bool centred) const {
    const Tensor input = centred ? x - w.at("b_dec") : x;
    return torch::matmul(input, w.at("W_enc").t()) + w.at("b_enc");
  }
  Tensor residual(const Tensor& z) const {
    const Tensor r = y - torch::matmul(z, w.at("W_dec")) - w.at("b_dec");
    return w.count("W_skip") ? r - torch::matmul(x, w.at("W_skip").t()) : r;
  }
  Tensor error(const Tensor& z) const {
    return error_weight * residual(z).pow(2).sum(1).mean() / kVariance;
  }
  /// Of a crosscoder the sum over its hooks.
  Tensor norms() const {
    const Tensor& d = w.at("W_dec");
    if (options.hooks.empty()) return d.norm(2, 1);
    return d.slice(1, 0, kHook).norm(2, 1) + d.slice(1, kHook).norm(2, 1);
  }
  double sparsity(double otherwise) const {
    return (options.model.sparsity > 0 ? options.model.sparsity : otherwise) / kVariance;
  }
  /// AuxK on the residual of z, where options ask for it; latents are ranked by scale·pre.
  Tensor aux(const Tensor& z, const Tensor& pre) const {
    return aux(z, pre, torch::ones({kN}, torch::kFloat64));
  }
  Tensor aux(const Tensor& z, const Tensor& pre, const Tensor& scale) const {
    codes = z;
    const Tensor fired = (z > 0).any(0);
    const Tensor dead = fired.logical_not().logical_and(silent + kRows >= kDeadAfter);
    const int64_t count = dead.sum().item<int64_t>();
    if (!(options.train.aux_coefficient > 0) || count == 0)
      return torch::zeros({}, torch::kFloat64);
    const Tensor r = residual(z).detach(),
                 scores = (pre * scale).masked_fill(dead.logical_not(), -1e30);
    const Tensor indices = std::get<1>(scores.topk(std::min<int64_t>(5, count), 1));
    const Tensor a = torch::zeros_like(pre).scatter(1, indices, pre.gather(1, indices).relu());
    const Tensor variance = (r - r.mean(0)).pow(2).sum(1).mean();
    return options.train.aux_coefficient *
           (r - torch::matmul(a, w.at("W_dec"))).pow(2).sum(1).mean() / variance;
  }
};

Tensor row_topk(const Tensor& pre, int64_t k) {
  const auto [values, indices] = pre.topk(k, 1);
  return torch::zeros_like(pre).scatter(1, indices, values.relu());
}

Tensor batch_topk(const Tensor& pre, const Tensor& scale = torch::ones({kN}, torch::kFloat64)) {
  const Tensor flat = pre.relu().flatten(), ranked = (pre.relu() * scale).flatten();
  const Tensor indices = std::get<1>(ranked.topk(kK * kRows, 0));
  return torch::zeros_like(flat).scatter(0, indices, flat.gather(0, indices)).view_as(pre);
}

Tensor matching_pursuit(const Dense& d) {
  Tensor r = d.x - d.w.at("b_dec");
  for (int64_t t = 0; t < kK; ++t) {
    const Tensor best = torch::matmul(r, d.w.at("W_dec").t()).argmax(1);
    const Tensor rows = d.w.at("W_dec").index_select(0, best);
    r = r - (r * rows).sum(1, true).relu() * rows;
  }
  return r.pow(2).sum(1).mean() / kVariance;
}

Tensor matryoshka(const Dense& d, const Tensor& z, const Tensor& pre) {
  Tensor loss = torch::zeros({}, torch::kFloat64);
  const int64_t ends[] = {kN / 32, 3 * kN / 32, 7 * kN / 32, 15 * kN / 32, kN};
  for (const int64_t end : ends) {
    const Tensor mask = torch::arange(kN) < end;
    loss = loss + d.error(z * mask) / 5;
  }
  return loss + d.aux(z, pre);
}

/// Heaviside(pre − θ) with the paper's rectangle as the derivative by θ.
struct Step : torch::autograd::Function<Step> {
  static Tensor forward(torch::autograd::AutogradContext* context, const Tensor& pre,
                        const Tensor& theta) {
    context->save_for_backward({pre, theta});
    return (pre > theta).to(torch::kFloat64);
  }
  static torch::autograd::tensor_list backward(torch::autograd::AutogradContext* context,
                                               torch::autograd::tensor_list g) {
    const auto saved = context->get_saved_variables();
    const Tensor near = (saved[0] - saved[1]).abs() < 0.0005;
    return {Tensor(), (-(g[0] * near) / 0.001).sum(0)};
  }
};

/// pre·H(pre − θ): by pre the mask, by θ −θ/ε in the rectangle.
struct Jump : torch::autograd::Function<Jump> {
  static Tensor forward(torch::autograd::AutogradContext* context, const Tensor& pre,
                        const Tensor& theta) {
    context->save_for_backward({pre, theta});
    return pre * (pre > theta);
  }
  static torch::autograd::tensor_list backward(torch::autograd::AutogradContext* context,
                                               torch::autograd::tensor_list g) {
    const auto saved = context->get_saved_variables();
    const Tensor near = (saved[0] - saved[1]).abs() < 0.0005;
    return {g[0] * (saved[0] > saved[1]), (-(g[0] * near) * saved[1] / 0.001).sum(0)};
  }
};

Tensor jumprelu(const Dense& d) {
  const Tensor pre = d.pre(false), z = Jump::apply(pre, d.w.at("threshold"));
  const Tensor l0 = Step::apply(pre.detach(), d.w.at("threshold")).sum(1).mean();
  const bool aims = d.options.model.sparsity_loss == "target";
  const Tensor over = l0 / kK - 1, square = over.pow(2);
  // A square up to twice the target, its tangent beyond.
  const Tensor penalty = !aims ? l0 : torch::where(over > 1, 2 * over - 1, square);
  return d.error(z) + d.sparsity(aims ? 4 : 1) * penalty + d.aux(z, pre);
}

Tensor gated(const Dense& d) {
  const Tensor input = d.x - d.w.at("b_dec"), dots = torch::matmul(input, d.w.at("W_enc").t());
  const Tensor gate = (dots + d.w.at("b_enc")).relu();
  const Tensor z = (gate > 0) * (d.w.at("r_mag").exp() * dots + d.w.at("b_mag")).relu();
  const Tensor frozen = torch::matmul(gate, d.w.at("W_dec").detach()) + d.w.at("b_dec").detach();
  return d.error(z) + d.sparsity(0.05) * gate.sum(1).mean() +
         (d.x - frozen).pow(2).sum(1).mean() / kVariance;
}

Tensor routed(const Dense& d) {
  const int64_t experts = d.options.model.experts;
  const Tensor input = std::sqrt(static_cast<double>(kD)) * d.x - d.w.at("b_router");
  const Tensor p = torch::softmax(torch::matmul(input, d.w.at("router").t()), 1);
  const Tensor chosen = torch::zeros_like(p).scatter(1, p.argmax(1, true), 1.0);
  const Tensor mask = chosen.repeat_interleave(kN / experts, 1), pre = d.pre(true);
  const auto [values, indices] = pre.masked_fill(mask == 0, -1e30).topk(kK, 1);
  const Tensor z =
      torch::zeros_like(pre).scatter(1, indices, values.relu()) * (p * chosen).sum(1, true);
  const Tensor balance = static_cast<double>(experts) * (chosen.mean(0) * p.mean(0)).sum();
  return d.error(z) + d.options.model.balance * balance + d.aux(z, pre);
}

Tensor dense_loss(const Dense& d) {
  const std::string& variant = d.options.model.variant;
  if (variant == "jumprelu") return jumprelu(d);
  if (variant == "gated") return gated(d);
  if (variant == "switch") return routed(d);
  if (variant == "matching_pursuit") return matching_pursuit(d);
  const bool transcodes = variant == "transcoder" || variant == "skip_transcoder";
  const Tensor pre = d.pre(variant != "relu" && d.options.hooks.empty() && !transcodes);
  if (variant == "crosscoder_batch_topk") {
    const Tensor scale = d.norms().detach(), z = batch_topk(pre, scale);
    return d.error(z) + d.aux(z, pre, scale);
  }
  if (variant == "relu" || variant == "crosscoder") {
    const Tensor z = pre.relu();
    return d.error(z) +
           d.sparsity(5 / std::sqrt(static_cast<double>(kD))) * (z * d.norms()).sum(1).mean() +
           d.aux(z, pre);
  }
  if (variant == "p_anneal") {
    const double p = d.numbers.at("p");
    const Tensor z = pre.relu();
    const Tensor penalty =
        torch::where(z > 0, (z + 1e-5).pow(p), torch::zeros_like(z)).sum(1).mean();
    return d.error(z) + d.sparsity(0.05) * d.numbers.at("rescale") * penalty;
  }
  if (variant == "matryoshka_topk") return matryoshka(d, row_topk(pre, kK), pre);
  if (variant == "matryoshka_batch_topk") return matryoshka(d, batch_topk(pre), pre);
  if (variant == "batch_topk") return d.error(batch_topk(pre)) + d.aux(batch_topk(pre), pre);
  const Tensor z = row_topk(pre, kK);
  if (variant == "multi_topk")
    return d.error(z) + d.error(row_topk(pre, 4 * kK)) / 8 + d.aux(z, pre);
  return d.error(z) + d.aux(z, pre);
}

/// 0.3·mean (x̂·v)² + 0.1·mean Σ (z + z²) beside 0.7 of the squared error.
struct SomeOutsideLoss : OutsideLoss {
  static std::vector<float> direction() {
    std::vector<float> v(kD);
    for (int64_t c = 0; c < kD; ++c) v[c] = 0.1f * static_cast<float>(c % 5 - 1);
    return v;
  }
  static Tensor dense(const Dense& d) {
    const Tensor x_hat = torch::matmul(d.codes, d.w.at("W_dec")) + d.w.at("b_dec");
    return 0.3 * torch::matmul(x_hat, tensor(direction(), {kD})).pow(2).mean() +
           0.1 * (d.codes + d.codes.pow(2)).sum(1).mean();
  }
  OutsideGradient differentiate(const OutsideInput& in) override {
    OutsideGradient result;
    result.error_weight = 0.7;
    const std::vector<float> v = direction();
    for (int64_t i = 0; i < kRows; ++i) {
      double dot = 0;
      for (int64_t c = 0; c < kD; ++c)
        dot += static_cast<double>(in.reconstruction.row(i)[c]) * v[c];
      result.loss += 0.3 * dot * dot / kRows;
      for (const float value : v)
        result.d_reconstruction.push_back(static_cast<float>(0.6 * dot * value / kRows));
    }
    for (const float z : in.codes.values) {
      result.loss += 0.1 * (z + z * z) / kRows;
      result.d_codes.push_back(static_cast<float>(0.1 * (1 + 2 * z) / kRows));
    }
    return result;
  }
};

struct Case {
  std::string variant, sparsity_loss = "target";
  double aux_coefficient = -1;
  bool outside = false;
};
std::ostream& operator<<(std::ostream& out, const Case& c) {
  return out << c.variant << " " << c.sparsity_loss << (c.outside ? " outside" : "");
}

class VariantGradient : public testing::TestWithParam<Case> {};

void prepare(const Variant& variant, State& state) {
  state.step = 0;
  for (int64_t j = 0; j < kN; j += 4) {
    if (!variant.geometry().tied)
      state.at("b_enc").value[j] -=
          0.15f;  // seldom among the winners, so that AuxK has latents to teach
    state.silent[j] = kDeadAfter;
  }
  for (auto& [name, p] : state.parameters) {
    std::fill(p.m.begin(), p.m.end(), 0.0f);
    std::fill(p.v.begin(), p.v.end(), 0.0f);
    if (name == "threshold") {
      for (size_t j = 0; j < p.value.size(); ++j) {
        p.value[j] = j % 4 == 0 ? 10.0f : 0.001f + 0.002f * static_cast<float>(j % 30);
      }
    }
    if (name == "r_mag" || name == "b_mag") {
      for (size_t j = 0; j < p.value.size(); ++j)
        p.value[j] = 0.02f * (static_cast<float>(j % 7) - 3);
    }
  }
  if (state.numbers.count("p")) state.numbers["p"] = 0.5;
  if (state.numbers.count("rescale")) state.numbers["rescale"] = 1.3;
}

TEST_P(VariantGradient, IsAutogradsOfTheDenseLoss) {
  torch::set_num_threads(1);
  Context context({Device::cpu, 2});
  VariantOptions options = small_options(GetParam().variant, GetParam().aux_coefficient);
  options.model.sparsity_loss = GetParam().sparsity_loss;
  const auto variant = make_variant(options);
  State state = some_state(context, *variant);
  prepare(*variant, state);
  const auto x = small_batch(77);
  const Tensor whole = tensor(x, {kRows, kD});
  Dense dense{
      {},      whole,        whole.slice(1, kD - options.d_out), torch::tensor(state.silent),
      options, state.numbers};
  for (const auto& [name, p] : state.parameters)
    dense.w[name] = tensor(p.value, p.shape).requires_grad_(true);
  if (GetParam().outside) dense.error_weight = 0.7;
  Tensor loss = dense_loss(dense);
  if (GetParam().outside) loss = loss + SomeOutsideLoss::dense(dense);
  loss.backward();

  NumericFlag flag;
  SomeOutsideLoss outside;
  const StepReport report = variant->step(context, state, batch_of(x, options.d_out), 1e-4, flag,
                                          GetParam().outside ? &outside : nullptr);
  ASSERT_FALSE(flag.raised());
  EXPECT_NEAR(report.loss, loss.item<double>(), 1e-5 * std::abs(loss.item<double>()));
  if (options.train.aux_coefficient > 0) {
    EXPECT_GT(report.aux_loss, 0) << "AuxK was not exercised";
  }
  // The slope of (z + 1e-5)^p magnifies pre's rounding where z is small.
  const double tolerance = GetParam().variant == "p_anneal" ? 2e-4 : 2e-5;
  const bool free_norms = !variant->geometry().unit_norm, tied = variant->geometry().tied;
  for (const auto& [name, p] : state.parameters) {
    Tensor expected = dense.w.at(name).grad();
    if (tied && (name == "W_enc" || name == "b_enc")) {  // copies and zeros
      EXPECT_FALSE(expected.defined()) << name;
      EXPECT_EQ(p.m, std::vector<float>(p.m.size())) << name;
      continue;
    }
    ASSERT_TRUE(expected.defined()) << name;
    if (name == "W_dec" && !free_norms) {
      const Tensor w = dense.w.at(name).detach();
      expected = expected - (expected * w).sum(1, true) * w;
    }
    const Tensor found = tensor(p.m, p.shape) / (1 - options.train.beta1);
    EXPECT_GT(expected.norm().item<double>(), 1e-4) << name;
    EXPECT_LT((found - expected).norm().item<double>(), tolerance * expected.norm().item<double>())
        << name;
  }
}

INSTANTIATE_TEST_SUITE_P(
    All, VariantGradient,
    testing::Values(Case{"topk"}, Case{"multi_topk"}, Case{"batch_topk"}, Case{"matryoshka_topk"},
                    Case{"matryoshka_batch_topk"}, Case{"relu"}, Case{"relu", "target", 0.25},
                    Case{"p_anneal"}, Case{"gated"}, Case{"jumprelu", "target"},
                    Case{"jumprelu", "l0"}, Case{"jumprelu", "target", 0.25}, Case{"switch"},
                    Case{"switch", "target", 0.25}, Case{"matching_pursuit"}, Case{"transcoder"},
                    Case{"skip_transcoder"}, Case{"crosscoder"}, Case{"crosscoder", "target", 0.25},
                    Case{"crosscoder_batch_topk"},

                    Case{"topk", "target", -1, true}, Case{"batch_topk", "target", -1, true},
                    Case{"matryoshka_topk", "target", -1, true}, Case{"relu", "target", -1, true},
                    Case{"jumprelu", "target", -1, true}, Case{"switch", "target", -1, true}));

}  // namespace
}  // namespace assay::sae
