#include "eval/learners/attention_probe.h"

#include <fmt/format.h>

#include <Eigen/Core>
#include <Eigen/SparseCore>
#include <algorithm>
#include <cmath>
#include <deque>

#include "eval/learners/linear_solver.h"
#include "kernels/base/error.h"

namespace assay::eval {
namespace {

constexpr int kMostSteps = 300, kFolds = 5;
constexpr size_t kMemory = 12;

using Eigen::VectorXd;
using SparseRows = Eigen::SparseMatrix<double, Eigen::RowMajor>;

void check_tokens(const TextTokens& tokens) {
  for (int64_t i = 0; i < tokens.texts(); ++i)
    if (tokens.start[i + 1] <= tokens.start[i])
      throw Error(fmt::format("attention probe: text {} has no tokens", i));
  const bool fits = tokens.dense.empty()
                        ? tokens.sparse.rows() == tokens.tokens()
                        : std::ssize(tokens.dense) == tokens.tokens() * tokens.features;
  if (!fits)
    throw Error(fmt::format("attention probe: {} tokens of {} features, but {} values or {} rows",
                            tokens.tokens(), tokens.features, tokens.dense.size(),
                            tokens.sparse.rows()));
}

RowMajor dense_rows(const TextTokens& tokens, const VectorXd& scale) {
  using Floats = Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
  return Eigen::Map<const Floats>(tokens.dense.data(), tokens.tokens(), tokens.features)
             .cast<double>() *
         scale.asDiagonal();
}

SparseRows sparse_rows(const TextTokens& tokens, const VectorXd& scale) {
  const SparseCodes& codes = tokens.sparse;
  std::vector<Eigen::Triplet<double>> entries;
  entries.reserve(codes.values.size());
  for (int64_t row = 0; row < codes.rows(); ++row)
    for (int64_t p = codes.row_offsets[row]; p < codes.row_offsets[row + 1]; ++p)
      entries.emplace_back(static_cast<int>(row), codes.indices[p],
                           codes.values[p] * scale[codes.indices[p]]);
  SparseRows rows(tokens.tokens(), tokens.features);
  rows.setFromTriplets(entries.begin(), entries.end());
  return rows;
}

/// Calls `body` with the tokens' rows, each feature times its scale, in the form they have.
template <class Body>
auto with_rows(const TextTokens& tokens, const VectorXd& scale, const Body& body) {
  check_tokens(tokens);
  return tokens.dense.empty() ? body(sparse_rows(tokens, scale)) : body(dense_rows(tokens, scale));
}

/// Attention over one text: logits [tokens] become weights that sum to 1.
void softmax(Eigen::Ref<VectorXd> logits) {
  logits = (logits.array() - logits.maxCoeff()).exp();
  logits /= logits.sum();
}

/// Scores without the bias; `attention` [tokens] gets the weights.
VectorXd attend(const std::vector<int64_t>& start, const VectorXd& values, VectorXd& attention) {
  VectorXd scores(std::ssize(start) - 1);
  for (int64_t i = 0; i < scores.size(); ++i) {
    const int64_t first = start[i], count = start[i + 1] - first;
    softmax(attention.segment(first, count));
    scores[i] = attention.segment(first, count).dot(values.segment(first, count));
  }
  return scores;
}

/// The objective over t = (w, q, b).
template <class Rows>
class Objective {
 public:
  Objective(const Rows& x, const std::vector<int64_t>& start, Labels y, double c)
      : x_(x), start_(start), y_(y), c_(c) {}

  double operator()(const VectorXd& t, VectorXd& gradient) const {
    const int64_t f = x_.cols();
    const VectorXd values = x_ * t.head(f);
    VectorXd attention = x_ * t.segment(f, f);
    const VectorXd scores = attend(start_, values, attention);
    VectorXd to_w(values.size()), to_q(values.size());  // ∂/∂(w · x_t), ∂/∂(q · x_t)
    double loss = 0, residuals = 0;
    for (int64_t i = 0; i < scores.size(); ++i) {
      const double margin = scores[i] + t[2 * f], small = std::exp(-std::abs(margin));
      const double p = margin >= 0 ? 1 / (1 + small) : small / (1 + small), y = y_[i];
      loss += std::log1p(small) + std::max(margin, 0.0) - y * margin;
      residuals += p - y;
      for (int64_t k = start_[i]; k < start_[i + 1]; ++k) {
        to_w[k] = c_ * (p - y) * attention[k];
        to_q[k] = to_w[k] * (values[k] - scores[i]);
      }
    }
    gradient.resize(2 * f + 1);
    gradient.head(f) = t.head(f) + x_.transpose() * to_w;
    gradient.segment(f, f) = t.segment(f, f) + x_.transpose() * to_q;
    gradient[2 * f] = c_ * residuals;
    return .5 * t.head(2 * f).squaredNorm() + c_ * loss;
  }

 private:
  const Rows& x_;
  const std::vector<int64_t>& start_;
  Labels y_;
  double c_;
};

struct Pair {
  VectorXd step, change;
  double curvature;
};

/// L-BFGS's two loops (Nocedal and Wright, algorithm 7.4).
VectorXd direction(const std::deque<Pair>& pairs, const VectorXd& gradient) {
  VectorXd v = -gradient;
  std::vector<double> alpha(pairs.size());
  for (size_t i = pairs.size(); i-- > 0;) {
    alpha[i] = pairs[i].step.dot(v) / pairs[i].curvature;
    v -= alpha[i] * pairs[i].change;
  }
  if (!pairs.empty()) v *= pairs.back().curvature / pairs.back().change.squaredNorm();
  for (size_t i = 0; i < pairs.size(); ++i)
    v += (alpha[i] - pairs[i].change.dot(v) / pairs[i].curvature) * pairs[i].step;
  return v;
}

struct Minimum {
  double value = 0;
  int steps = 0;
};

/// Moves t down until the largest gradient entry is `enough`, no step helps, or kMostSteps are
/// done.
template <class Function>
Minimum minimise(const Function& function, double enough, VectorXd& t) {
  VectorXd gradient, next_gradient;
  Minimum at{function(t, gradient), 0};
  std::deque<Pair> pairs;
  while (at.steps < kMostSteps && gradient.lpNorm<Eigen::Infinity>() > enough) {
    const VectorXd step = direction(pairs, gradient);
    const double slope = step.dot(gradient);
    double length = pairs.empty() ? std::min(1.0, 1 / gradient.norm()) : 1;
    VectorXd next = t + length * step;
    double value = function(next, next_gradient);
    while (!(value <= at.value + 1e-4 * length * slope) && length > 1e-10) {
      length *= .5;
      next = t + length * step;
      value = function(next, next_gradient);
    }
    if (!(value < at.value)) break;
    Pair pair{next - t, next_gradient - gradient, 0};
    pair.curvature = pair.step.dot(pair.change);
    if (pair.curvature > 1e-12 * pair.change.squaredNorm()) {
      pairs.push_back(std::move(pair));
      if (pairs.size() > kMemory) pairs.pop_front();
    }
    t.swap(next);
    gradient.swap(next_gradient);
    at = {value, at.steps + 1};
  }
  return at;
}

/// Some of the texts, in the order given.
TextTokens texts_of(const TextTokens& tokens, const std::vector<int64_t>& texts) {
  TextTokens out{.features = tokens.features, .dense = {}, .sparse = {}};
  const SparseCodes& codes = tokens.sparse;
  for (const int64_t i : texts) {
    const int64_t first = tokens.start[i], last = tokens.start[i + 1];
    out.start.push_back(out.start.back() + last - first);
    if (!tokens.dense.empty()) {
      out.dense.insert(out.dense.end(), tokens.dense.begin() + first * tokens.features,
                       tokens.dense.begin() + last * tokens.features);
      continue;
    }
    for (int64_t row = first; row < last; ++row) {
      const int64_t from = codes.row_offsets[row], to = codes.row_offsets[row + 1];
      out.sparse.indices.insert(out.sparse.indices.end(), codes.indices.begin() + from,
                                codes.indices.begin() + to);
      out.sparse.values.insert(out.sparse.values.end(), codes.values.begin() + from,
                               codes.values.begin() + to);
      out.sparse.row_offsets.push_back(std::ssize(out.sparse.indices));
    }
  }
  return out;
}

}  // namespace

std::vector<float> mean_pooled(const TextTokens& tokens) {
  check_tokens(tokens);
  const int64_t f = tokens.features;
  std::vector<float> out(static_cast<size_t>(tokens.texts() * f));
  for (int64_t i = 0; i < tokens.texts(); ++i) {
    std::vector<double> sum(static_cast<size_t>(f));
    for (int64_t t = tokens.start[i]; t < tokens.start[i + 1]; ++t) {
      if (!tokens.dense.empty())
        for (int64_t j = 0; j < f; ++j) sum[j] += tokens.dense[t * f + j];
      else
        for (int64_t p = tokens.sparse.row_offsets[t]; p < tokens.sparse.row_offsets[t + 1]; ++p)
          sum[tokens.sparse.indices[p]] += tokens.sparse.values[p];
    }
    const auto count = static_cast<double>(tokens.start[i + 1] - tokens.start[i]);
    for (int64_t j = 0; j < f; ++j) out[i * f + j] = static_cast<float>(sum[j] / count);
  }
  return out;
}

std::vector<double> AttentionProbe::score(const TextTokens& tokens) const {
  if (std::ssize(w) != tokens.features)
    throw Error(
        fmt::format("attention probe: {} features, fitted on {}", tokens.features, w.size()));
  const auto map = [](const std::vector<double>& v) {
    return Eigen::Map<const VectorXd>(v.data(), std::ssize(v));
  };
  return with_rows(tokens, VectorXd::Ones(tokens.features), [&](const auto& x) {
    const VectorXd values = x * map(w);
    VectorXd attention = x * map(q);
    const VectorXd scores = attend(tokens.start, values, attention).array() + bias;
    return std::vector<double>(scores.begin(), scores.end());
  });
}

AttentionProbe fit_at(const TextTokens& tokens, Labels y, double c, uint64_t seed) {
  const std::vector<float> pooled = mean_pooled(tokens);
  const ConstMatrix means(pooled.data(), tokens.texts(), tokens.features);
  LogisticOptions options;
  options.c_grid = {c};
  const LinearProbe start = fit_logistic(means, y, options, seed);
  // Centring would change nothing: attention sums to 1, so a constant goes into the intercept.
  const VectorXd scale = prepare(means, true).inverse_scale;
  const int64_t f = tokens.features;
  VectorXd t = VectorXd::Zero(2 * f + 1);
  for (int64_t j = 0; j < f; ++j) t[j] = scale[j] > 0 ? start.weights[j] / scale[j] : 0;
  t[2 * f] = start.bias;
  const double enough = 1e-5 * std::min(1.0, c * static_cast<double>(tokens.texts()));
  const Minimum found = with_rows(tokens, scale, [&]<class Rows>(const Rows& x) {
    return minimise(Objective<Rows>(x, tokens.start, y, c), enough, t);
  });
  const VectorXd w = t.head(f).cwiseProduct(scale), q = t.segment(f, f).cwiseProduct(scale);
  return {.w = {w.begin(), w.end()},
          .q = {q.begin(), q.end()},
          .bias = t[2 * f],
          .c = c,
          .steps = found.steps,
          .objective = found.value};
}

AttentionProbe fit_attention(const TextTokens& tokens, Labels y, std::span<const int64_t> documents,
                             uint64_t seed) {
  const std::vector<double> grid = default_c_grid(Penalty::l2);
  const std::vector<int> fold = stratified_folds(y, documents, kFolds, seed);
  const std::vector<int> usable = two_sided_folds(y, fold, kFolds);
  if (usable.empty()) return fit_at(tokens, y, grid.front(), seed);
  std::vector<int64_t> inside, outside;
  std::vector<uint8_t> inside_labels, outside_labels;
  for (size_t i = 0; i < fold.size(); ++i) {
    const bool held_out = fold[i] == usable.front();
    (held_out ? outside : inside).push_back(static_cast<int64_t>(i));
    (held_out ? outside_labels : inside_labels).push_back(y[i]);
  }
  const TextTokens train = texts_of(tokens, inside), test = texts_of(tokens, outside);
  double best = 0, best_auroc = -1;
  for (const double c : grid) {
    const double own = auroc(fit_at(train, inside_labels, c, seed).score(test), outside_labels);
    if (own <= best_auroc + kAurocTie) continue;
    best = c;
    best_auroc = own;
  }
  return fit_at(tokens, y, best, seed);
}

double attention_objective(const TextTokens& tokens, Labels y, double c,
                           std::span<const double> parameters, std::span<double> gradient) {
  return with_rows(tokens, VectorXd::Ones(tokens.features), [&]<class Rows>(const Rows& x) {
    VectorXd own;
    const double value = Objective<Rows>(x, tokens.start, y, c)(
        Eigen::Map<const VectorXd>(parameters.data(), std::ssize(parameters)), own);
    std::copy(own.begin(), own.end(), gradient.begin());
    return value;
  });
}

}  // namespace assay::eval
