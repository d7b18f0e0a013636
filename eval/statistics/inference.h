// Intervals and tests that stand beside every published number. All are closed forms: the same
// cells give the same bits, and p has no floor. Type I error and coverage by simulation:
// docs/measurements/inference.md. Errors: assay::Error naming what was found.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

namespace assay::eval {

using Interval = std::array<double, 2>;

/// What is told apart is told at this level.
inline constexpr double kAlpha = 0.05;
/// A task's checks on itself (label nulls, oracles), each family by Holm, withhold it at this
/// level: one honest run in a hundred.
inline constexpr double kCheckAlpha = 0.01;
/// A verdict needs so many units; of fewer, an estimate describes and tells nothing apart.
inline constexpr int64_t kUnitsToTell = 8;

/// A value with its 95 % interval by Student's t.
struct Estimate {
  double value = 0;
  double standard_error = 0;
  double df = 0;                     ///< degrees of freedom of standard_error; 0 = unknown
  std::optional<Interval> interval;  ///< value ± t(.975, df)·standard_error; needs df
  double p = 1;                      ///< two-sided, of "is 0"; 1 where df is unknown
  int64_t n = 0;                     ///< values that went in
};

/// One measurement. Keys are any integers; equal keys mean the same unit, the same run.
struct Cell {
  int64_t unit = 0;  ///< class, goal, concept: what the result is to hold for others of
  int64_t run = 0;   ///< evaluation seed or swap: the same cut of the texts for every unit
  double value = 0;
};

/// Mean over values that are drawn independently.
Estimate mean_of(std::span<const double> values);

/// Σ numerator / Σ denominator over units in pairs (FVU over documents, a share of tokens), its
/// variance by linearisation (the delta method). Error where Σ denominator is not positive.
Estimate ratio_of(std::span<const double> numerators, std::span<const double> denominators);

/// Mean over the cells of crossed units and runs. The variance is that of the units' sums, plus,
/// from three runs on, that of the runs' sums less that of cells, where it is positive (two-way
/// clustering, Cameron, Gelbach and Miller 2011; cells by the additive model's residuals, as in the
/// analysis of variance); degrees of freedom by Satterthwaite (1946). With one or two runs the
/// variance between runs is unknown and left out. Missing cells are allowed; a repeated key is an
/// Error. One unit has no interval.
Estimate mean_of_cells(std::span<const Cell> cells);

/// The same value, its variance larger by `added`, which is 0 or more.
Estimate with_variance(Estimate estimate, double added);

/// a − b, cell by cell, ascending by unit and run. A cell without a partner is an Error: both arms
/// must have met the same units and runs.
std::vector<Cell> differences(std::span<const Cell> a, std::span<const Cell> b);

/// mean_of_cells of the differences.
Estimate paired_difference(std::span<const Cell> a, std::span<const Cell> b);

/// Mean of a − mean of b for two groups of dictionaries (settings with several training seeds), all
/// of which met the same cells. To the variance of the paired difference of the groups' means comes
/// that of their members: pooled over groups of two or more, s²·(1/|a| + 1/|b|). Satterthwaite's
/// degrees of freedom. With one member in each group it is the paired difference.
Estimate group_difference(std::span<const std::vector<Cell>> a,
                          std::span<const std::vector<Cell>> b);

/// A difference that would be told from 0 at `alpha` in four of five evaluations like this one, by
/// the noncentral t.
double detectable(double standard_error, double df, double alpha = kAlpha);

/// Holm's step-down adjustment, in the order given: monotone, at most 1.
std::vector<double> holm(std::span<const double> p);

}  // namespace assay::eval
