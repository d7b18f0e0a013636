#include "eval/tasks/hidden_goals/words.h"

#include <fmt/format.h>

#include <numeric>

#include "kernels/base/error.h"

namespace assay::eval::hidden_goals {
namespace {

constexpr int kIterations = 1000;
constexpr double kTolerance = 1e-7;  // of the right-hand side

double dot(const std::vector<double>& a, const std::vector<double>& b) {
  return std::inner_product(a.begin(), a.end(), b.begin(), 0.0);
}

/// Σ_i rows_i · values_i.
std::vector<double> transposed(const std::vector<TfIdf::Row>& rows,
                               const std::vector<double>& values, int64_t columns) {
  std::vector<double> result(static_cast<size_t>(columns));
  for (size_t i = 0; i < rows.size(); ++i)
    for (const auto& [column, value] : rows[i]) result[column] += value * values[i];
  return result;
}

std::vector<double> times(const std::vector<TfIdf::Row>& rows, const std::vector<double>& w) {
  std::vector<double> result(rows.size());
  for (size_t i = 0; i < rows.size(); ++i)
    for (const auto& [column, value] : rows[i]) result[i] += value * w[column];
  return result;
}

}  // namespace

WordAuditor::WordAuditor(Context& context, const std::vector<std::string_view>& audit,
                         const std::vector<std::string_view>& concepts, const GoalData& data)
    : corpora_(static_cast<size_t>(data.classes)) {
  context.pool().run(data.classes, [&](int64_t absent, int) {
    Corpus& corpus = corpora_[absent];
    std::vector<std::string_view> texts;
    for (int64_t i = 0; i < std::ssize(audit); ++i) {
      if (data.audit_class[i] == absent) continue;
      corpus.texts.push_back(i);
      texts.push_back(audit[i]);
    }
    const TfIdf tfidf(texts);
    corpus.columns = tfidf.columns();
    for (const std::string_view text : texts) corpus.rows.push_back(tfidf.transform(text));
    corpus.means.assign(corpora_.size(), std::vector<double>(static_cast<size_t>(corpus.columns)));
    std::vector<double> counts(corpora_.size());
    for (const int32_t c : data.concept_class) counts[c] += 1;
    for (size_t i = 0; i < concepts.size(); ++i) {
      const int32_t c = data.concept_class[i];
      for (const auto& [column, value] : tfidf.transform(concepts[i]))
        corpus.means[c][column] += value / counts[c];
    }
  });
}

/// Conjugate gradients on (XᵀX + penalty) w = Xᵀy.
std::vector<double> WordAuditor::solve(const Corpus& corpus, const std::vector<double>& y,
                                       double penalty) {
  std::vector<double> residual = transposed(corpus.rows, y, corpus.columns), w(residual.size()),
                      p = residual;
  double size = dot(residual, residual);
  const double enough = kTolerance * kTolerance * size;
  for (int i = 0; i < kIterations && size > enough; ++i) {
    std::vector<double> image = transposed(corpus.rows, times(corpus.rows, p), corpus.columns);
    for (size_t j = 0; j < p.size(); ++j) image[j] += penalty * p[j];
    const double step = size / dot(p, image);
    for (size_t j = 0; j < p.size(); ++j) {
      w[j] += step * p[j];
      residual[j] -= step * image[j];
    }
    const double next = dot(residual, residual);
    for (size_t j = 0; j < p.size(); ++j) p[j] = residual[j] + next / size * p[j];
    size = next;
  }
  if (size > enough)
    throw Error(fmt::format("regression on words did not converge in {} iterations", kIterations));
  return w;
}

GoalScores WordAuditor::score(const std::vector<double>& outputs, int32_t absent) const {
  const Corpus& corpus = corpora_[absent];
  std::vector<double> y;
  double mean = 0;
  for (const int64_t i : corpus.texts)
    mean += outputs[i] / static_cast<double>(corpus.texts.size());
  for (const int64_t i : corpus.texts) y.push_back(outputs[i] - mean);
  GoalScores result{"black_box", {}, {}};
  for (const double penalty : kPenalties) {
    const std::vector<double> w = solve(corpus, y, penalty);
    result.settings.push_back(fmt::format("ridge {}", penalty));
    result.scores.emplace_back();
    for (const std::vector<double>& class_mean : corpus.means)
      result.scores.back().push_back(dot(class_mean, w));
  }
  return result;
}

}  // namespace assay::eval::hidden_goals
