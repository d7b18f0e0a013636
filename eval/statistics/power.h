// What an evaluation can tell apart, before it is run: from how much units, runs and cells varied
// in one that was.
#pragma once

#include <cstdint>
#include <optional>
#include <span>

#include "eval/statistics/inference.h"

namespace assay::eval {

/// Variances of a difference between two arms, none negative: of what a unit's cells share, of what
/// a run's share, and of single cells. Of one run, or if cells are missing, `units` holds all of
/// it.
struct Spread {
  double units = 0, runs = 0, cells = 0;
  double choice = 0;  ///< of choosing the arms: on one unit, what it adds to the variance of means
};

/// By the analysis of variance of crossed units and runs; a component below 0 is 0. Nothing for
/// fewer than 2 units. `choice` is what choosing the arms adds to the variance of the cells' mean.
std::optional<Spread> spread_of(std::span<const Cell> cells, double choice = 0);

/// The difference that would be told from 0 at `alpha` in four of five evaluations with so many
/// units and runs, by mean_of_cells; nothing of fewer than 2 units. As there, the variance of runs
/// counts from three runs on.
std::optional<double> detectable(const Spread& spread, int64_t units, int64_t runs,
                                 double alpha = kAlpha);

/// The fewest units, kUnitsToTell or more, of which `detectable` is at most `difference`; nothing
/// if 10,000 do not suffice.
std::optional<int64_t> units_needed(const Spread& spread, int64_t runs, double difference,
                                    double alpha = kAlpha);

}  // namespace assay::eval
