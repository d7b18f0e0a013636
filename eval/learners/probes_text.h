// The baseline that sees the words alone: TF-IDF bag of words + logistic regression.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "eval/learners/linear.h"

namespace assay::eval {

/// Words of a text: runs of at least two word characters (ASCII letters, digits, underscore, and
/// any byte >= 0x80, so that UTF-8 words stay whole), ASCII letters lower-cased. On ASCII text
/// scikit-learn's default tokens.
std::vector<std::string> words_of(std::string_view text);

/// count · idf, rows of unit L2 norm; idf = ln((1 + n)/(1 + df)) + 1 (scikit-learn's
/// TfidfVectorizer).
class TfIdf {
 public:
  using Row = std::vector<std::pair<int64_t, double>>;  ///< (column, value), columns ascending

  /// Vocabulary = the words of these texts, in byte order.
  explicit TfIdf(const std::vector<std::string_view>& texts);
  int64_t columns() const { return static_cast<int64_t>(idf_.size()); }
  /// Unknown words are left out; a text without known words is the empty row.
  Row transform(std::string_view text) const;

 private:
  std::unordered_map<std::string, int64_t> vocabulary_;
  std::vector<double> idf_;
};

/// Logistic regression (L2) on TF-IDF rows, which are not standardised.
class TextProbe {
 public:
  std::vector<double> score(const std::vector<std::string_view>& texts) const;
  const LinearProbe& linear() const { return linear_; }  ///< over TfIdf's columns

 private:
  friend TextProbe fit_tfidf_logistic(const std::vector<std::string_view>&, Labels,
                                      const LogisticOptions&, uint64_t);
  TextProbe(TfIdf tfidf, LinearProbe linear)
      : tfidf_(std::move(tfidf)), linear_(std::move(linear)) {}
  TfIdf tfidf_;
  LinearProbe linear_;
};

/// options.standardise is ignored (sparse rows keep their zeros) and an empty c_grid means .1, 1,
/// 10, 100, 1000: rows of unit norm want larger C than standardised features. options.penalty must
/// be l2.
TextProbe fit_tfidf_logistic(const std::vector<std::string_view>& texts, Labels y,
                             const LogisticOptions& options, uint64_t seed);

}  // namespace assay::eval
