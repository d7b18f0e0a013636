// Arms that are chosen on other units than they are scored on.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "eval/results/compare.h"

namespace assay::eval::compare_parts {

/// One arm's cells, signed so that higher is better.
struct Arm {
  std::string dictionary, method;
  std::string label;  ///< for people
  bool headline = false;
  std::vector<Cell> cells;
};

/// Cells composed of the arms that were chosen on other units.
struct Chosen {
  std::string methods, labels;  ///< see ChosenArm
  std::vector<Cell> cells;
};

/// See ChosenArm. Nothing where there are no arms or fewer than 2 units (ascending).
std::optional<Chosen> choose_on_other_units(const std::vector<const Arm*>& arms,
                                            const std::vector<int64_t>& units);

/// What the choice adds to the variance of the mean of chosen `a` − chosen `b`. Each half's choice
/// rests on the values that the other half's is scored by, so where arms are close the halves
/// depend on each other, and the arm chosen may be the worse one. Units are resampled within each
/// half (1,000 times, a fixed seed): the variance where the choice is made again, less that where
/// it stands. 0 where there is nothing to choose, for fewer than 4 units, and never below 0. `b`
/// may be empty.
double variance_of_choice(const std::vector<const Arm*>& a, const std::vector<const Arm*>& b,
                          const std::vector<int64_t>& units);

}  // namespace assay::eval::compare_parts
