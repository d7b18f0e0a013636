// What an evaluation can tell apart, before it is run: from how much units, runs and cells varied
// in the published one.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace assay::eval {

/// Variances of the difference between a dictionary's headline and the best baseline, by the
/// analysis of variance: what units share, what runs share, and single cells (which hold the
/// variance of runs if there is one). None is negative.
struct Spread {
  std::string_view task, metric, part;
  double units, runs, cells;
};

/// As published for the quickstart; nothing if the metric was not measured.
std::optional<Spread> published_spread(std::string_view task, std::string_view metric,
                                       std::string_view part);

/// The difference that so many units and runs would tell from 0 at .05 in four of five evaluations;
/// nothing for fewer than 2 units. The runs' variance counts if it is measured, from three on.
std::optional<double> detectable(const Spread& spread, int64_t units, int64_t runs);

/// The fewest units, kUnitsToTell or more, of which `detectable` is at most the difference; nothing
/// if it takes more than 10,000.
std::optional<int64_t> units_needed(const Spread& spread, int64_t runs, double difference);

/// "8 units, 4 runs: would tell .079 apart; .05 takes 19 units, .02 takes 112", for people.
std::string power_text(const std::optional<Spread>& spread, int64_t units, int64_t runs);

}  // namespace assay::eval
