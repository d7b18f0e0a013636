#include "eval/learners/attention_probe.h"

#include <gtest/gtest.h>

#include <cmath>
#include <numeric>

#include "kernels/base/error.h"
#include "kernels/base/random.h"

namespace assay::eval {
namespace {

struct Problem {
  TextTokens tokens;
  std::vector<uint8_t> labels;
};

/// One token of each text is marked (feature 0) and says the label (feature 1); the others say
/// anything.
Problem marked_token(int64_t texts, uint64_t seed) {
  Problem p;
  p.tokens.features = 3;
  Rng rng(seed);
  for (int64_t i = 0; i < texts; ++i) {
    const int64_t count = 3 + static_cast<int64_t>(rng.below(5));
    const auto marked = static_cast<int64_t>(rng.below(static_cast<uint64_t>(count)));
    p.labels.push_back(i % 2 == 0);
    for (int64_t t = 0; t < count; ++t) {
      const double says = t == marked ? (i % 2 == 0 ? 1 : -1) : 3 * rng.normal();
      for (const double value : {t == marked ? 2.0 : 0.0, says + .1 * rng.normal(), rng.normal()})
        p.tokens.dense.push_back(static_cast<float>(value));
    }
    p.tokens.start.push_back(p.tokens.start.back() + count);
  }
  return p;
}

TextTokens as_sparse(const TextTokens& dense) {
  TextTokens sparse{.features = dense.features, .start = dense.start, .dense = {}, .sparse = {}};
  for (int64_t t = 0; t < dense.tokens(); ++t) {
    for (int64_t j = 0; j < dense.features; ++j) {
      if (dense.dense[t * dense.features + j] == 0) continue;
      sparse.sparse.indices.push_back(static_cast<int32_t>(j));
      sparse.sparse.values.push_back(dense.dense[t * dense.features + j]);
    }
    sparse.sparse.row_offsets.push_back(std::ssize(sparse.sparse.indices));
  }
  return sparse;
}

/// The definition, token by token: parameters (w, q, b), each feature times its scale.
double naive_objective(const Problem& p, double c, const std::vector<double>& parameters,
                       const std::vector<double>& scale) {
  const int64_t f = p.tokens.features;
  double total = 0;
  for (int64_t j = 0; j < 2 * f; ++j) total += parameters[j] * parameters[j] / 2;
  for (int64_t i = 0; i < p.tokens.texts(); ++i) {
    double above = 0, below = 0;
    for (int64_t t = p.tokens.start[i]; t < p.tokens.start[i + 1]; ++t) {
      double value = 0, logit = 0;
      for (int64_t j = 0; j < f; ++j) {
        value += parameters[j] * scale[j] * p.tokens.dense[t * f + j];
        logit += parameters[f + j] * scale[j] * p.tokens.dense[t * f + j];
      }
      above += std::exp(logit) * value;
      below += std::exp(logit);
    }
    const double score = above / below + parameters[2 * f];
    total += c * std::log(1 + std::exp(p.labels[i] ? -score : score));
  }
  return total;
}

/// 1/sd over texts of each feature's mean over tokens.
std::vector<double> scale_of(const Problem& p) {
  const std::vector<float> pooled = mean_pooled(p.tokens);
  const int64_t n = p.tokens.texts(), f = p.tokens.features;
  std::vector<double> scale;
  for (int64_t j = 0; j < f; ++j) {
    double sum = 0, squares = 0;
    for (int64_t i = 0; i < n; ++i) {
      const double value = pooled[i * f + j];
      sum += value / static_cast<double>(n);
      squares += value * value / static_cast<double>(n);
    }
    scale.push_back(1 / std::sqrt(squares - sum * sum));
  }
  return scale;
}

/// Each text is its own.
std::vector<int64_t> own_documents(const Problem& p) {
  std::vector<int64_t> documents(p.labels.size());
  std::iota(documents.begin(), documents.end(), int64_t{0});
  return documents;
}

LinearProbe mean_probe(const Problem& p) {
  const std::vector<float> pooled = mean_pooled(p.tokens);
  const std::vector<int64_t> documents = own_documents(p);
  return fit_logistic({pooled.data(), p.tokens.texts(), p.tokens.features}, p.labels,
                      by_document(documents), 1);
}

TEST(AttentionProbe, ObjectiveAndGradientAreTheDefinitions) {
  const Problem p = marked_token(30, 3);
  Rng rng(4);
  std::vector<double> at;
  for (int i = 0; i < 7; ++i) at.push_back(.3 * rng.normal());
  const std::vector<double> ones(3, 1.0);
  for (const TextTokens& tokens : {p.tokens, as_sparse(p.tokens)}) {
    std::vector<double> gradient(7);
    EXPECT_NEAR(attention_objective(tokens, p.labels, .7, at, gradient),
                naive_objective(p, .7, at, ones), 1e-9);
    for (size_t i = 0; i < at.size(); ++i) {
      constexpr double kStep = 1e-5;
      std::vector<double> up = at, down = at;
      up[i] += kStep;
      down[i] -= kStep;
      const double slope =
          (naive_objective(p, .7, up, ones) - naive_objective(p, .7, down, ones)) / (2 * kStep);
      EXPECT_NEAR(gradient[i], slope, 1e-6 * (1 + std::abs(slope))) << "parameter " << i;
    }
  }
}

/// By differences of the naive objective alone: the end is a minimum, and lower than the start.
TEST(AttentionProbe, EndsAtAMinimumOfTheDefinition) {
  constexpr double kC = .05;
  const Problem p = marked_token(60, 5);
  const std::vector<double> scale = scale_of(p);
  const std::vector<float> pooled = mean_pooled(p.tokens);
  LogisticOptions options;
  options.c_grid = {kC};
  const LinearProbe mean =
      fit_logistic({pooled.data(), p.tokens.texts(), p.tokens.features}, p.labels, options, 1);
  const AttentionProbe probe = fit_at(p.tokens, p.labels, kC, 1);
  std::vector<double> start(7, 0.0), end(7, 0.0);
  for (size_t j = 0; j < 3; ++j) {
    start[j] = mean.weights[j] / scale[j];
    end[j] = probe.w[j] / scale[j];
    end[3 + j] = probe.q[j] / scale[j];
  }
  start[6] = mean.bias;
  end[6] = probe.bias;
  const double lowest = naive_objective(p, kC, end, scale);
  EXPECT_NEAR(probe.objective, lowest, 1e-6 * lowest);
  EXPECT_LT(lowest, naive_objective(p, kC, start, scale));
  for (size_t i = 0; i < end.size(); ++i)
    for (const double step : {-1e-2, 1e-2}) {
      std::vector<double> near = end;
      near[i] += step;
      EXPECT_GT(naive_objective(p, kC, near, scale), lowest - 1e-9) << "parameter " << i;
    }
}

TEST(AttentionProbe, FindsTheTokenThatTheMeanDrowns) {
  const Problem train = marked_token(400, 7), test = marked_token(400, 8);
  const LinearProbe mean = mean_probe(train);
  const AttentionProbe probe = fit_attention(train.tokens, train.labels, own_documents(train), 1);
  const std::vector<float> pooled = mean_pooled(test.tokens);
  const double by_mean = auroc(mean.score({pooled.data(), test.tokens.texts(), 3}), test.labels),
               by_attention = auroc(probe.score(test.tokens), test.labels);
  EXPECT_LT(by_mean, 0.75);
  EXPECT_GT(by_attention, 0.95);
}

TEST(AttentionProbe, SparseTokensAreTheSameProblem) {
  const Problem p = marked_token(80, 9);
  const TextTokens sparse = as_sparse(p.tokens);
  const AttentionProbe a = fit_at(p.tokens, p.labels, .1, 1), b = fit_at(sparse, p.labels, .1, 1);
  EXPECT_NEAR(a.objective, b.objective, 1e-6 * a.objective);
  const std::vector<double> left = a.score(p.tokens), right = b.score(sparse);
  for (size_t i = 0; i < left.size(); ++i) EXPECT_NEAR(left[i], right[i], 1e-3);
  EXPECT_EQ(mean_pooled(p.tokens), mean_pooled(sparse));
}

TEST(AttentionProbe, RefusesATextWithoutTokensAndOtherFeatures) {
  Problem p = marked_token(10, 1);
  const AttentionProbe probe = fit_at(p.tokens, p.labels, .1, 1);
  TextTokens other = p.tokens;
  other.start.push_back(other.start.back());
  EXPECT_THROW(probe.score(other), Error);
  other = {.features = 2, .start = {0, 1}, .dense = {1, 2}, .sparse = {}};
  EXPECT_THROW(probe.score(other), Error);
}

}  // namespace
}  // namespace assay::eval
