// Metrics of scores and counts. Single-threaded, reentrant. Errors: assay::Error naming the
// argument and what was found.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "eval/statistics/inference.h"

namespace assay::eval {

using Labels = std::span<const uint8_t>;  ///< 1 = the class, 0 = the rest

/// Probability that a random positive outscores a random negative, ties counting half (Mann-Whitney
/// by average ranks; exact up to one division). Error without both classes, on another label than 0
/// and 1, on a NaN score.
double auroc(std::span<const double> scores, Labels labels);
double auroc(std::span<const float> scores, Labels labels);

/// Share of rows where (score > threshold) is the label.
double accuracy(std::span<const double> scores, Labels labels, double threshold = 0);

/// Wilson's score interval, 95 %, of `successes` of `n` (n >= 1).
Interval wilson(int64_t successes, int64_t n);

/// Quantile q in [0, 1] with linear interpolation between order statistics (numpy's default). Not
/// empty.
double quantile(std::vector<double> values, double q);

}  // namespace assay::eval
