// What the hidden-goal tasks share: texts, goals, numbers. Each adds its organisms and how auditors
// read them.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "eval/tasks/hidden_goals/declare.h"
#include "eval/tasks/hidden_goals/scores.h"
#include "eval/tasks/task.h"

namespace assay::eval::hidden_goals {

/// One organism's scores by several methods as arms; calibrated: from readings less the calibration
/// organisms' mean.
void append_arms(std::vector<GoalScores> scores, std::optional<size_t> dictionary, bool calibrated,
                 std::vector<GoalArm>& arms);

struct GoalTaskPlan {
  TextTable table;
  GoalPlan goals;
};

class GoalTask : public PlannedTask<GoalTaskPlan> {
 public:
  /// `entry` is the task's own.
  explicit GoalTask(const TaskEntry& entry) : name_(entry.name) {}
  std::string missing(const Session& session) const override;

 protected:
  const std::string& name() const { return name_; }
  GoalTaskPlan make_plan(const Session& session, EncodeRequest& request) const override;
  Tested tested_by(const Session& session, const GoalTaskPlan& plan) const override {
    return {plan.goals.classes,
            {{"mrr", strength_part(settings(session).headline_strength), "goals",
              std::ssize(plan.goals.classes), std::ssize(plan.goals.runs)}}};
  }
  virtual const HiddenGoalsConfig& settings(const Session& session) const = 0;
  /// Every organism of one run by every arm, one entry an organism, the arms in the same order; and
  /// how well each was fitted (fit_name says by what).
  struct RunScores {
    std::vector<std::vector<GoalArm>> arms;
    std::vector<double> fits;
  };
  virtual RunScores score_run(const Session& session, const EncodeCache& cache,
                              const GoalTaskPlan& plan, const GoalRun& run,
                              const std::vector<Organism>& organisms, uint64_t seed) const = 0;
  virtual std::string fit_name() const = 0;

 private:
  void run_plan(const Session& session, const EncodeCache& cache, const GoalTaskPlan& plan,
                TaskResult& result) const override;

  std::string name_;
};

}  // namespace assay::eval::hidden_goals
