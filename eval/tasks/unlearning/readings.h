// What is read from the outcomes of the unlearning task at an operating point, class by class.
#pragma once

#include <functional>
#include <optional>
#include <vector>

#include "eval/tasks/unlearning/run.h"

namespace assay::eval::unlearning {

/// What is read from one class of one run. `clean` are its untouched texts.
using Reading = std::function<double(const ClassOutcome& edited, const PanelScores& clean,
                                     const RunOutcome& run, size_t c)>;

/// The damage to retained classes, points of accuracy.
double read_damage(const ClassOutcome& edited, const PanelScores& clean, const RunOutcome& run,
                   size_t c);

/// Outcomes of a weaker and a stronger setting, [classes] each, and the share of the stronger.
struct Mixture {
  const std::vector<ClassOutcome>&weaker, &stronger;
  double share = 0;
  std::optional<double> budget = {};  ///< the mean damage that the share was chosen for
};

/// [classes]: the mixture's reading, each class at its own damage.
std::vector<double> read_mixture(const RunOutcome& run, const Mixture& from,
                                 const Reading& reading);

/// [classes]: the reading of each class at a damage of the budget. The classes share a setting, so
/// their damages differ. Each is moved along the line through the two settings' means, whose slope
/// is taken over half a point of damage at least. The mean over classes stays, and the damage's
/// error enters the spread over them. Without a budget the mixture's reading.
std::vector<double> read_at_budget(const RunOutcome& run, const Mixture& from,
                                   const Reading& reading);

}  // namespace assay::eval::unlearning
