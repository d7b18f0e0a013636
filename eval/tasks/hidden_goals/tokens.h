// The single tokens of a hidden-goal task's texts, where their mean is not enough.
#pragma once

#include <cstdint>
#include <vector>

#include "eval/encoding/pooled.h"
#include "eval/tasks/hidden_goals/sample.h"

namespace assay::eval::hidden_goals {

/// Ordinary tokens, text after text in the order of GoalTexts, each text's in row order.
struct TokenRows {
  Features x;                    ///< [tokens, d], as stored
  std::vector<int32_t> text;     ///< [tokens] place of the text in GoalTexts
  std::vector<int32_t> classes;  ///< [tokens] class of the text
};

/// One pass for several parts, which share no text. Throws Error where an activation is not finite.
std::vector<TokenRows> gather_tokens(const data::Dataset& dataset, const TextTable& table,
                                     const std::vector<const GoalTexts*>& parts);

/// Σ f and Σ f² of columns over the tokens of each class, so that any class can be left out.
class ColumnMoments {
 public:
  ColumnMoments(int64_t classes, int64_t columns);
  /// Values that are 0 need not be added.
  void add(int32_t token_class, int64_t column, double value);
  /// Standard deviation (1/tokens) over the tokens of all other classes, of which there are
  /// `tokens`; 0 of a constant.
  double sd(int64_t column, int32_t absent, double tokens) const;

 private:
  int64_t classes_, columns_;
  std::vector<double> sums_, squares_;  // [classes, columns]
};

}  // namespace assay::eval::hidden_goals
