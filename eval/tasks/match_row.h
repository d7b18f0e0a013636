// How well random latents match those they stand for, as a row of details.
#pragma once

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "eval/learners/matched_latents.h"

namespace assay::eval {

/// Adds how many were drawn for how many, and their mean rate and size as shares of those they
/// stand for (geometric means).
inline void add_match(nlohmann::json& row, const MatchQuality& match) {
  const double drawn = std::max(1.0, static_cast<double>(match.drawn));
  row.update({{"chosen", match.chosen},
              {"drawn", match.drawn},
              {"rate", std::exp(match.rate / drawn)},
              {"size", std::exp(match.size / drawn)}});
}

}  // namespace assay::eval
