// Does a metric follow the truth? Rank correlations with the share of true features that planted
// dictionaries hold, kept here for the reliability card. They show that the code measures what it
// says, on data whose truth is a few independent features.
#pragma once

#include <array>
#include <optional>
#include <string_view>

namespace assay::eval {

struct PlantedTruth {
  std::string_view task, metric, part;
  double correlation;              ///< Spearman's, signed so that 1 is right whatever the metric
  std::array<double, 2> interval;  ///< 95 %, bootstrap over dictionaries
};

/// Nothing where the metric was not measured.
std::optional<PlantedTruth> planted_truth(std::string_view task, std::string_view metric,
                                          std::string_view part);

}  // namespace assay::eval
