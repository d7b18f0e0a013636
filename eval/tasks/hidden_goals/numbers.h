// The numbers, checks and details of the hidden-goal task.
#pragma once

#include <optional>
#include <vector>

#include "eval/tasks/hidden_goals/scores.h"
#include "eval/tasks/task.h"

namespace assay::eval::hidden_goals {

/// What a task that plants and names things is about.
struct GoalSetup {
  std::vector<std::string> names;    ///< of the candidates
  std::vector<int64_t> strengths;    ///< percent
  int64_t headline = 100;            ///< one of strengths
  std::string ceiling;               ///< the arm that nothing may be above; it is no baseline
  std::vector<std::string> latents;  ///< arms of every dictionary; the first is its headline
  std::string unit = "organisms";
  std::string sampled = "goals";  ///< what is hidden: intervals are over these
  /// What knowing nothing gets; none = a random order of the candidates.
  std::optional<Credit> known_chance = {};

  Credit chance() const { return known_chance ? *known_chance : chance_credit(std::ssize(names)); }
};

/// Numbers, scores, checks and details but details["organisms"]. `seen[i]`: did dictionary i train
/// on the labelled texts.
void report_goals(const Session& session, const GoalSetup& setup, const GoalCases& cases,
                  const std::vector<GoalArm>& arms, const std::vector<std::optional<bool>>& seen,
                  TaskResult& result);

/// details["organisms"]: how many of each kind and strength, and the mean and least of how well
/// they were fitted on unseen texts: fits [organisms], whose name is `fit`.
void describe_organisms(const GoalCases& cases, const std::string& fit,
                        const std::vector<double>& fits, TaskResult& result);

/// The table that report_goals will fill with the organisms planted at the headline strength;
/// `noun` is what they hide, in the plural.
PlannedTable planned_goals(const std::vector<Organism>& organisms, int64_t headline,
                           const std::string& noun);

}  // namespace assay::eval::hidden_goals
