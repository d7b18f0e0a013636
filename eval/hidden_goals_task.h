// What the hidden-goal tasks share: texts, auditors, numbers. Each task adds its kind of organism.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "eval/hidden_goals_organisms.h"
#include "eval/tasks.h"

namespace assay::eval {

class GoalTask : public Task {
 public:
  std::string missing(const Session& session) const override;
  void request(const Session& session, EncodeRequest& request) override;
  void run(const Session& session, const EncodeCache& cache, TaskResult& result) override;

 protected:
  virtual const HiddenGoalsConfig& settings(const Session& session) const = 0;
  /// One run's kind of organism. The arguments and the task outlive it.
  virtual std::unique_ptr<OrganismMaker> maker(const Session& session, const EncodeCache& cache, const GoalRun& run,
                                               const GoalData& data) const = 0;
  const TextTable& table() const { return table_; }
  const GoalPlan& plan() const { return plan_; }

 private:
  std::vector<std::optional<bool>> seen_by_dictionary(const Session& session) const;

  TextTable table_;
  GoalPlan plan_;
};

}  // namespace assay::eval
