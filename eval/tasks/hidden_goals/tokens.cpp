#include "eval/tasks/hidden_goals/tokens.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "eval/encoding/row_gather.h"
#include "kernels/base/error.h"

namespace assay::eval::hidden_goals {

std::vector<TokenRows> gather_tokens(const data::Dataset& dataset, const TextTable& table,
                                     const std::vector<const GoalTexts*>& parts) {
  constexpr int64_t kBlock = 4096;
  const int64_t d = dataset.hook("activations").d;
  const auto& special = dataset.left_out();
  std::vector<uint8_t> wanted(special.size());  // part + 1
  std::vector<int64_t> place(special.size());
  std::vector<TokenRows> result(parts.size());
  for (size_t p = 0; p < parts.size(); ++p) {
    TokenRows& out = result[p];
    for (size_t i = 0; i < parts[p]->texts.size(); ++i) {
      const int64_t t = parts[p]->texts[i];
      for (int64_t row = table.first[t]; row < table.first[t] + table.rows[t]; ++row) {
        if (special[row]) continue;
        wanted[row] = static_cast<uint8_t>(p + 1);
        place[row] = std::ssize(out.text);
        out.text.push_back(static_cast<int32_t>(i));
        out.classes.push_back(parts[p]->classes[i]);
      }
    }
    out.x = {std::ssize(out.text), d, std::vector<float>(out.text.size() * static_cast<size_t>(d))};
  }
  gather_rows(dataset, wanted, kBlock, [&](std::span<const int64_t> rows, ConstMatrix x) {
    for (int64_t i = 0; i < x.rows; ++i) {
      if (!std::all_of(x.row(i), x.row(i) + d, [](float value) { return std::isfinite(value); }))
        throw Error(fmt::format("{}: row {} is not finite", dataset.info().path.string(), rows[i]));
      std::copy_n(x.row(i), d, result[wanted[rows[i]] - 1].x.values.begin() + place[rows[i]] * d);
    }
  });
  return result;
}

ColumnMoments::ColumnMoments(int64_t classes, int64_t columns)
    : classes_(classes),
      columns_(columns),
      sums_(static_cast<size_t>(classes * columns)),
      squares_(sums_.size()) {}

void ColumnMoments::add(int32_t token_class, int64_t column, double value) {
  sums_[token_class * columns_ + column] += value;
  squares_[token_class * columns_ + column] += value * value;
}

double ColumnMoments::sd(int64_t column, int32_t absent, double tokens) const {
  double sum = 0, square = 0;
  for (int64_t c = 0; c < classes_; ++c) {
    if (c == absent) continue;
    sum += sums_[c * columns_ + column] / tokens;
    square += squares_[c * columns_ + column] / tokens;
  }
  const double variance = square - sum * sum;
  return variance > 1e-12 * square ? std::sqrt(variance) : 0;
}

}  // namespace assay::eval::hidden_goals
