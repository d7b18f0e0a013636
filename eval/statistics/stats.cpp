#include "eval/statistics/stats.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "kernels/base/error.h"

namespace assay::eval {
namespace {

void check_finite(std::span<const double> values, const char* what) {
  for (std::size_t i = 0; i < values.size(); ++i) {
    if (!std::isfinite(values[i]))
      throw Error(fmt::format("{}: entry {} is {}, expected a number", what, i, values[i]));
  }
}

double sorted_quantile(const std::vector<double>& sorted, double q) {
  const double at = q * static_cast<double>(sorted.size() - 1);
  const std::size_t low = static_cast<std::size_t>(at), high = std::min(low + 1, sorted.size() - 1);
  return sorted[low] + (at - static_cast<double>(low)) * (sorted[high] - sorted[low]);
}

}  // namespace

double auroc(std::span<const double> scores, Labels labels) {
  if (scores.size() != labels.size()) {
    throw Error(fmt::format("AUROC: {} scores for {} labels", scores.size(), labels.size()));
  }
  for (std::size_t i = 0; i < scores.size(); ++i) {
    if (labels[i] > 1)
      throw Error(fmt::format("AUROC: label {} is {}, expected 0 or 1", i, labels[i]));
    if (std::isnan(scores[i])) throw Error(fmt::format("AUROC: score {} is NaN", i));
  }
  std::vector<std::size_t> order(scores.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::sort(order.begin(), order.end(),
            [&](std::size_t a, std::size_t b) { return scores[a] < scores[b]; });
  int64_t positives = 0, negatives = 0, twice_wins = 0;
  for (std::size_t i = 0; i < order.size();) {
    int64_t tied[2] = {0, 0};
    const double score = scores[order[i]];
    for (; i < order.size() && scores[order[i]] == score; ++i) ++tied[labels[order[i]]];
    twice_wins += tied[1] * (2 * negatives + tied[0]);
    negatives += tied[0];
    positives += tied[1];
  }
  if (!positives || !negatives) {
    throw Error(fmt::format("AUROC: {} positives and {} negatives, expected some of both",
                            positives, negatives));
  }
  return static_cast<double>(twice_wins) /
         (2.0 * static_cast<double>(positives) * static_cast<double>(negatives));
}

double auroc(std::span<const float> scores, Labels labels) {
  return auroc(std::vector<double>(scores.begin(), scores.end()), labels);
}

double accuracy(std::span<const double> scores, Labels labels, double threshold) {
  if (scores.size() != labels.size() || scores.empty()) {
    throw Error(fmt::format("accuracy: {} scores for {} labels", scores.size(), labels.size()));
  }
  int64_t right = 0;
  for (std::size_t i = 0; i < scores.size(); ++i)
    right += (scores[i] > threshold) == (labels[i] != 0);
  return static_cast<double>(right) / static_cast<double>(scores.size());
}

Interval wilson(int64_t successes, int64_t n) {
  if (n < 1 || successes < 0 || successes > n) {
    throw Error(fmt::format("Wilson interval: {} successes of {}", successes, n));
  }
  constexpr double z = 1.959963984540054;
  const double count = static_cast<double>(n), share = static_cast<double>(successes) / count;
  const double centre = (share + z * z / (2 * count)) / (1 + z * z / count);
  const double half = z / (1 + z * z / count) *
                      std::sqrt(share * (1 - share) / count + z * z / (4 * count * count));
  return {successes == 0 ? 0.0 : centre - half, successes == n ? 1.0 : centre + half};
}

double quantile(std::vector<double> values, double q) {
  if (values.empty() || !(q >= 0 && q <= 1)) {
    throw Error(fmt::format("quantile {} of {} values: expected q in [0, 1] and at least one value",
                            q, values.size()));
  }
  check_finite(values, "quantile: values");
  std::sort(values.begin(), values.end());
  return sorted_quantile(values, q);
}

}  // namespace assay::eval
