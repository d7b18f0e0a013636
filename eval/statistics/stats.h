// Metrics of scores, and the intervals and tests that stand beside every published number.
// Single-threaded, reentrant; the same seed gives the same bits. Errors: assay::Error naming the
// argument and what was found.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <vector>

namespace assay::eval {

using Labels = std::span<const uint8_t>;  ///< 1 = the class, 0 = the rest

/// Probability that a random positive outscores a random negative, ties counting half (Mann-Whitney
/// by average ranks; exact up to one division). Error without both classes, on another label than 0
/// and 1, on a NaN score.
double auroc(std::span<const double> scores, Labels labels);
double auroc(std::span<const float> scores, Labels labels);

/// Share of rows where (score > threshold) is the label.
double accuracy(std::span<const double> scores, Labels labels, double threshold = 0);

using Interval = std::array<double, 2>;

/// A value with its 95 % interval.
struct Estimate {
  double value = 0;     ///< on the data as they are, not the mean of the resamples
  Interval interval{};  ///< percentile: quantiles .025 and .975 of the resamples
  /// two-sided bootstrap p of "is 0": 2·(1 + the rarer side's resamples)/(resamples + 1), at most 1
  double p = 1;
  int64_t n = 0;  ///< values that went in
};

inline constexpr int64_t kResamples = 2000;

/// Mean of values, resampled one by one.
Estimate bootstrap_mean(std::span<const double> values, uint64_t seed,
                        int64_t resamples = kResamples);

/// Σ numerator / Σ denominator, units resampled in pairs: FVU over documents, a share of tokens
/// over documents. Error where Σ denominator is not positive.
Estimate bootstrap_ratio(std::span<const double> numerators, std::span<const double> denominators,
                         uint64_t seed, int64_t resamples = kResamples);

/// "For all dictionaries": the value of an arm that has none (dense probe, neurons).
inline constexpr int64_t kAnyDictionary = -1;

/// One measurement. The three keys are any integers; equal keys mean the same class, dictionary
/// seed, evaluation seed.
struct Cell {
  int64_t task = 0;        ///< class, goal, concept
  int64_t dictionary = 0;  ///< dictionary seed, or kAnyDictionary throughout
  int64_t seed = 0;        ///< evaluation seed or swap
  double value = 0;
};

/// Mean over the cells. Tasks, dictionary seeds and evaluation seeds are crossed (each seed meets
/// each task), so each factor is resampled with replacement on its own and a cell counts as often
/// as the product of its three counts (the pigeonhole bootstrap, Owen 2007: for crossed factors its
/// interval errs to the wide side). A factor with one level adds no variance: say so beside the
/// number. Missing cells are allowed; a repeated key is an Error.
Estimate hierarchical_bootstrap(std::span<const Cell> cells, uint64_t seed,
                                int64_t resamples = kResamples);

/// The same of a − b, paired cell by cell. b's cells with kAnyDictionary pair with every dictionary
/// of a (and the reverse). A cell without a partner on either side is an Error: both arms must have
/// met the same tasks and seeds.
Estimate paired_difference(std::span<const Cell> a, std::span<const Cell> b, uint64_t seed,
                           int64_t resamples = kResamples);

/// Mean of a − mean of b for two groups of dictionaries (settings with several training seeds) that
/// met the same tasks and evaluation seeds: those are resampled jointly, each group's dictionary
/// seeds on their own, since seed 1 of one setting has nothing to do with seed 1 of another. A
/// (task, seed) met by one group only is an Error.
Estimate group_difference(std::span<const Cell> a, std::span<const Cell> b, uint64_t seed,
                          int64_t resamples = kResamples);

/// Quantile .975 of Student's t (three decimals; df >= 1).
double student_t975(int64_t df);

/// Holm's step-down adjustment, in the order given: monotone, at most 1.
std::vector<double> holm(std::span<const double> p);

/// Wilson's score interval, 95 %, of `successes` of `n` (n >= 1).
Interval wilson(int64_t successes, int64_t n);

/// Quantile q in [0, 1] with linear interpolation between order statistics (numpy's default). Not
/// empty.
double quantile(std::vector<double> values, double q);

}  // namespace assay::eval
