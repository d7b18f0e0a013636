// AUROC over several comparisons, with an interval in closed form. Single-threaded, reentrant,
// without random numbers.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <vector>

#include "eval/statistics/inference.h"

namespace assay::eval {

/// Scores that may be compared with each other: of positives by their unit (whose scores hang
/// together, here and in other strata), and of negatives, each a unit of its own.
struct ScoreStratum {
  std::map<int64_t, std::vector<double>> positive;
  std::vector<double> negative;
};

struct StratifiedAuroc {
  double value = 0;  ///< mean of the strata's AUROC
  /// 95 %; none where there are fewer than two positive units or two negatives
  std::optional<Interval> interval;
  int64_t n = 0;  ///< scores that went in
};

/// The interval is DeLong's, DeLong's and Clarke-Pearson's (1988): a positive's component is the
/// share of its stratum's negatives that it outscores, a negative's the share of positives that
/// outscore it; AUROC is the mean of either, and its variance the sum of the two means' variances.
/// A positive unit's components are averaged first. Quantiles are Student's t, degrees of freedom
/// by Welch and Satterthwaite, on the logit scale, where the interval stays within
/// (0, 1) and holds its level near the ends. A value of 0 or 1 has no such variance: there
/// the interval is Wilson's of as many successes as there are units on the smaller side. Throws
/// Error without strata, and where one lacks either side.
StratifiedAuroc stratified_auroc(std::span<const ScoreStratum> strata);

}  // namespace assay::eval
