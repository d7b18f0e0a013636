// What the hidden-goal tasks share: texts, goals, numbers. Each adds its organisms and how auditors
// read them.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "eval/tasks/hidden_goals/scores.h"
#include "eval/tasks/task.h"

namespace assay::eval::hidden_goals {

/// One organism's scores by several methods as arms; calibrated: from readings less the calibration
/// organisms' mean.
void append_arms(std::vector<GoalScores> scores, int dictionary, bool calibrated,
                 std::vector<GoalArm>& arms);

class GoalTask : public Task {
 public:
  std::string missing(const Session& session) const override;
  void request(const Session& session, EncodeRequest& request) override;
  void run(const Session& session, const EncodeCache& cache, TaskResult& result) override;

 protected:
  virtual const HiddenGoalsConfig& settings(const Session& session) const = 0;
  /// Every organism of one run by every arm, one entry an organism, the arms in the same order; and
  /// how well each was fitted (fit_name says by what).
  struct RunScores {
    std::vector<std::vector<GoalArm>> arms;
    std::vector<double> fits;
  };
  virtual RunScores score_run(const Session& session, const EncodeCache& cache, const GoalRun& run,
                              const std::vector<Organism>& organisms, uint64_t seed) const = 0;
  virtual std::string fit_name() const = 0;
  const TextTable& table() const { return table_; }
  const GoalPlan& plan() const { return plan_; }

 private:
  std::vector<std::optional<bool>> seen_by_dictionary(const Session& session) const;

  TextTable table_;
  GoalPlan plan_;
};

}  // namespace assay::eval::hidden_goals
