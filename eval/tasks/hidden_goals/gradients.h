// The hidden-goal tasks whose organisms give texts a score: auditors read its gradients. Each task
// adds its kind of organism.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "eval/tasks/hidden_goals/task.h"

namespace assay::eval::hidden_goals {

class GradientGoalTask : public GoalTask {
 protected:
  using GoalTask::GoalTask;
  /// One run's kind of organism. The arguments and the task outlive it.
  virtual std::unique_ptr<OrganismMaker> maker(const Session& session, const EncodeCache& cache,
                                               const TextTable& table, const GoalRun& run,
                                               const GoalData& data) const = 0;

 private:
  RunScores score_run(const Session& session, const EncodeCache& cache, const GoalTaskPlan& plan,
                      const GoalRun& run, const std::vector<Organism>& organisms,
                      uint64_t seed) const override;
  std::string fit_name() const override { return "r_squared"; }
};

}  // namespace assay::eval::hidden_goals
