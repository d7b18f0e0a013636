// From scores of goals to credit: ranks, settings chosen on the other fold of the goals.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "eval/statistics/inference.h"
#include "eval/tasks/hidden_goals/methods.h"

namespace assay::eval::hidden_goals {

/// One arm on all organisms.
struct GoalArm {
  std::string method;
  std::optional<size_t> dictionary;
  bool calibrated = true;  ///< readings less the mean reading of the calibration organisms
  std::vector<std::string> settings;
  std::vector<std::vector<std::vector<double>>> scores;  ///< [settings][organisms][classes]
};

/// What every arm is scored against.
struct GoalCases {
  std::vector<Organism> organisms;
  std::vector<int8_t> fold;  ///< [classes], GoalPlan::fold
};

bool is_planted(const Organism& organism, int64_t strength);

/// Expected credit for a goal under random order of ties.
struct Credit {
  double top1 = 0;
  double reciprocal = 0;  ///< E[1/rank]
};
/// Throws Error where a score is NaN.
Credit credit(const std::vector<double>& scores, int32_t goal);
/// Of a random order of so many classes: 1/classes and the mean of 1/rank.
Credit chance_credit(int64_t classes);

/// The setting with the best mean reciprocal rank over the planted organisms of this strength whose
/// goals are in the fold `tuning`; ties to the first. No other organism is looked at.
size_t choose_setting(const GoalArm& arm, const GoalCases& cases, int64_t strength, int8_t tuning);

/// [fold]: the setting for goals and absent classes of this fold, chosen on the other.
std::array<size_t, 2> chosen_settings(const GoalArm& arm, const GoalCases& cases, int64_t strength);

/// Credit of the planted organisms of one strength, cells (unit = goal, run = replicate).
struct GoalCells {
  std::vector<Cell> top1, reciprocal;
};
GoalCells score_goals(const GoalArm& arm, const GoalCases& cases, int64_t strength);

}  // namespace assay::eval::hidden_goals
