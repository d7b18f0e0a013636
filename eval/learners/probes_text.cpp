#include "eval/learners/probes_text.h"

#include <fmt/format.h>

#include <cmath>
#include <map>
#include <set>

#include "eval/learners/linear_solver.h"
#include "kernels/base/error.h"

namespace assay::eval {
namespace {

bool is_word(unsigned char c) {
  return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' ||
         c >= 0x80;
}

double dot(const TfIdf::Row& a, const TfIdf::Row& b) {
  double sum = 0;
  for (std::size_t i = 0, j = 0; i < a.size() && j < b.size();) {
    if (a[i].first == b[j].first)
      sum += a[i++].second * b[j++].second;
    else if (a[i].first < b[j].first)
      ++i;
    else
      ++j;
  }
  return sum;
}

/// Kernel of the centred rows: (x − x̄)·(x′ − x̄). The intercept is free, so that centring changes
/// nothing but the conditioning.
Eigen::MatrixXd centred_kernel(const std::vector<TfIdf::Row>& rows) {
  const int64_t n = std::ssize(rows);
  Eigen::MatrixXd k(n, n);
  for (int64_t i = 0; i < n; ++i) {
    for (int64_t j = 0; j <= i; ++j) {
      k(i, j) = k(j, i) = dot(rows[static_cast<std::size_t>(i)], rows[static_cast<std::size_t>(j)]);
    }
  }
  const Eigen::VectorXd means = k.rowwise().mean();
  const double mean = means.mean();
  k.colwise() -= means;
  k.rowwise() -= means.transpose();
  k.array() += mean;
  return k;
}

void check_texts(std::size_t texts, Labels y) {
  if (texts != y.size())
    throw Error(fmt::format("TF-IDF: {} texts for {} labels", texts, y.size()));
  std::size_t counts[2] = {0, 0};
  for (std::size_t i = 0; i < y.size(); ++i) {
    if (y[i] > 1)
      throw Error(fmt::format("TF-IDF: label of text {} is {}, expected 0 or 1", i, y[i]));
    ++counts[y[i]];
  }
  if (!counts[0] || !counts[1]) {
    throw Error(fmt::format("TF-IDF: {} positives and {} negatives, expected some of both",
                            counts[1], counts[0]));
  }
}

}  // namespace

std::vector<std::string> words_of(std::string_view text) {
  std::vector<std::string> result;
  std::string word;
  for (std::size_t i = 0; i <= text.size(); ++i) {
    if (i < text.size() && is_word(static_cast<unsigned char>(text[i]))) {
      const char c = text[i];
      word += c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
      continue;
    }
    if (word.size() >= 2) result.push_back(word);
    word.clear();
  }
  return result;
}

TfIdf::TfIdf(const std::vector<std::string_view>& texts) {
  std::map<std::string, int64_t> document_frequency;
  for (std::string_view text : texts) {
    const std::vector<std::string> words = words_of(text);
    for (const std::string& word : std::set<std::string>(words.begin(), words.end()))
      ++document_frequency[word];
  }
  const double n = static_cast<double>(texts.size());
  for (const auto& [word, frequency] : document_frequency) {
    vocabulary_.emplace(word, std::ssize(idf_));
    idf_.push_back(std::log((1 + n) / (1 + static_cast<double>(frequency))) + 1);
  }
}

TfIdf::Row TfIdf::transform(std::string_view text) const {
  std::map<int64_t, double> counts;
  for (const std::string& word : words_of(text)) {
    const auto found = vocabulary_.find(word);
    if (found != vocabulary_.end()) counts[found->second] += 1;
  }
  Row row(counts.begin(), counts.end());
  double squares = 0;
  for (auto& [column, value] : row) {
    value *= idf_[static_cast<std::size_t>(column)];
    squares += value * value;
  }
  for (auto& [column, value] : row) value /= std::sqrt(squares);
  return row;
}

std::vector<double> TextProbe::score(const std::vector<std::string_view>& texts) const {
  std::vector<double> result;
  result.reserve(texts.size());
  for (std::string_view text : texts) {
    double sum = linear_.bias;
    for (const auto& [column, value] : tfidf_.transform(text))
      sum += linear_.weights[static_cast<std::size_t>(column)] * value;
    result.push_back(sum);
  }
  return result;
}

TextProbe fit_tfidf_logistic(const std::vector<std::string_view>& texts, Labels y,
                             const LogisticOptions& options, uint64_t seed) {
  check_texts(texts.size(), y);
  if (options.penalty != Penalty::l2)
    throw Error("TF-IDF + logistic regression: expected the l2 penalty");
  LogisticOptions used = options;
  if (used.c_grid.empty()) used.c_grid = {.1, 1, 10, 100, 1000};
  TfIdf tfidf(texts);
  if (tfidf.columns() == 0) throw Error("TF-IDF: the texts have no words of two or more letters");
  std::vector<TfIdf::Row> rows;
  for (std::string_view text : texts) rows.push_back(tfidf.transform(text));
  const KernelFactor factor = factor_kernel(centred_kernel(rows));
  auto solver = make_l2_solver(factor.l, y);
  const Chosen chosen = choose_and_fit(*solver, y, used, seed);
  Eigen::VectorXd a = factor.dual(chosen.solution.w);
  a.array() -= a.mean();  // w = Σ_i a_i (x_i − x̄)
  LinearProbe linear;
  linear.features = tfidf.columns();
  linear.weights.resize(static_cast<std::size_t>(tfidf.columns()));
  for (std::size_t i = 0; i < rows.size(); ++i) {
    for (const auto& [column, value] : rows[i])
      linear.weights[static_cast<std::size_t>(column)] += a[static_cast<int64_t>(i)] * value;
  }
  double at_mean = 0;
  for (const TfIdf::Row& row : rows) {
    for (const auto& [column, value] : row)
      at_mean += linear.weights[static_cast<std::size_t>(column)] * value;
  }
  linear.bias = chosen.solution.b - at_mean / static_cast<double>(rows.size());
  linear.c = chosen.c;
  linear.cv_auroc = chosen.cv_auroc;
  return TextProbe(std::move(tfidf), std::move(linear));
}

}  // namespace assay::eval
