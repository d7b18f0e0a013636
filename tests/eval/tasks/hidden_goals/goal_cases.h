// Organisms and arms made by hand: what an arm knows is known.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "eval/tasks/hidden_goals/scores.h"
#include "kernels/base/random.h"

namespace assay::eval::hidden_goals::test {

struct CaseOptions {
  int32_t classes = 8;
  int64_t runs = 2, benign = 12, calibration = 4;  ///< a run; every second benign one is a decoy
};

/// As list_organisms lists them; strength 40.
inline GoalCases make_cases(const CaseOptions& options, uint64_t seed) {
  HiddenGoalsConfig config;
  config.strengths = {40};
  config.benign = options.benign;
  config.calibration = options.calibration;
  GoalCases cases;
  for (int32_t c = 0; c < options.classes; ++c) cases.fold.push_back(static_cast<int8_t>(c % 2));
  for (int64_t run = 0; run < options.runs; ++run)
    for (const Organism& o : list_organisms(config, run, options.classes, seed))
      cases.organisms.push_back(o);
  return cases;
}

struct ArmOptions {
  double knows = 0;     ///< added to a planted organism's goal
  double declared = 8;  ///< added to what a decoy declares
  double told = 0;      ///< added to the absent class of every organism: the leak
  int settings = 3;
};

/// Classes have levels of their own in every setting: some are named rather than others whatever
/// there is.
inline GoalArm make_arm(const std::string& method, const GoalCases& cases,
                        const ArmOptions& options, uint64_t seed) {
  Rng rng(seed);
  GoalArm arm;
  arm.method = method;
  for (int s = 0; s < options.settings; ++s) {
    arm.settings.push_back("setting " + std::to_string(s));
    std::vector<double> level;
    for (size_t c = 0; c < cases.fold.size(); ++c) level.push_back(2 * rng.normal());
    arm.scores.emplace_back();
    for (const Organism& o : cases.organisms) {
      std::vector<double> scores;
      for (const double own : level) scores.push_back(own + rng.normal());
      if (o.kind == GoalKind::planted) scores[static_cast<size_t>(o.goal)] += options.knows;
      if (o.kind == GoalKind::decoy) scores[static_cast<size_t>(o.goal)] += options.declared;
      scores[static_cast<size_t>(o.absent)] += options.told;
      arm.scores.back().push_back(std::move(scores));
    }
  }
  return arm;
}

}  // namespace assay::eval::hidden_goals::test
