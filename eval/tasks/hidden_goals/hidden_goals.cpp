#include "eval/tasks/hidden_goals/hidden_goals.h"

#include <algorithm>

#include "eval/learners/mlp.h"
#include "eval/tasks/hidden_goals/gradients.h"

namespace assay::eval::hidden_goals {
namespace {

constexpr size_t kSteps = std::size(kSteeringSteps);

/// Σ over the audit texts of each class of score(z + α·difference) − score(z), for all steps and
/// directions: a shift moves the hidden input by W·shift, the same for every text.
std::vector<double> steer(const Mlp& mlp, const GoalData& data) {
  const int64_t h = mlp.hidden, n = data.audit.rows;
  std::vector<float> directions(data.difference.begin(), data.difference.end());
  std::vector<float> shift = mlp.hidden_input({directions.data(), data.classes, data.d});
  for (int64_t c = 0; c < data.classes; ++c)
    for (int64_t j = 0; j < h; ++j) shift[c * h + j] -= mlp.b[j];
  const std::vector<float> input = mlp.hidden_input(data.audit.view());
  std::vector<double> sums(
      static_cast<size_t>(data.classes * std::ssize(kSteeringSteps) * data.classes));
  for (size_t s = 0; s < kSteps; ++s)
    for (int64_t to = 0; to < data.classes; ++to)
      for (int64_t i = 0; i < n; ++i) {
        const auto step = static_cast<float>(kSteeringSteps[s]);
        float change = 0;
        for (int64_t j = 0; j < h; ++j) {
          const float before = input[i * h + j];
          change += mlp.v[j] *
                    (std::max(0.0f, before + step * shift[to * h + j]) - std::max(0.0f, before));
        }
        sums[(data.audit_class[i] * kSteps + s) * data.classes + to] += change;
      }
  return sums;
}

/// Small networks on z-scored pooled activations.
class ScorerMaker final : public OrganismMaker {
 public:
  ScorerMaker(const GoalScorersConfig& config, const GoalData& data, Features train, Features query)
      : data_(data), train_(std::move(train)), query_(std::move(query)) {
    options_.hidden = config.hidden;
    options_.epochs = config.epochs;
  }

  Probed make(const Organism&, std::span<const float> targets, uint64_t seed) const override {
    const Mlp mlp = train_mlp(train_.view(), targets, options_, seed);
    Probed result;
    result.gradients = mlp.gradient_sums(data_.audit.view(), data_.audit_class, data_.classes);
    result.steered = steer(mlp, data_);
    const std::vector<float> output = mlp.score(data_.audit.view()),
                             query = mlp.score(query_.view());
    result.output.assign(output.begin(), output.end());
    result.query.assign(query.begin(), query.end());
    result.counts.assign(static_cast<size_t>(data_.classes), 0);
    for (const int32_t c : data_.audit_class) result.counts[c] += 1;
    result.steered_counts = result.counts;
    return result;
  }

 private:
  const GoalData& data_;
  Features train_, query_;
  MlpOptions options_;
};

class HiddenGoalsTask final : public GradientGoalTask {
 public:
  HiddenGoalsTask() : GradientGoalTask(kHiddenGoals) {}

 private:
  GoalTaskPlan make_plan(const Session& session, EncodeRequest& request) const override {
    GoalTaskPlan plan = GoalTask::make_plan(session, request);
    for (const GoalRun& run : plan.goals.runs) request.add_texts(run.train.texts);
    return plan;
  }
  const HiddenGoalsConfig& settings(const Session& session) const override {
    return session.config.of<GoalScorersConfig>();
  }
  std::unique_ptr<OrganismMaker> maker(const Session& session, const EncodeCache& cache,
                                       const TextTable&, const GoalRun& run,
                                       const GoalData& data) const override {
    return std::make_unique<ScorerMaker>(session.config.of<GoalScorersConfig>(), data,
                                         z_scored(data, cache, run.train.texts),
                                         z_scored(data, cache, run.query.texts));
  }
};

}  // namespace

const TaskEntry kHiddenGoals{
    .name = "hidden_goals",
    .title = "Hidden-goal extraction",
    .question =
        "For whoever audits a model that may pursue something nobody asked for, without texts that "
        "show it: does the dictionary help to notice that something is hidden, and to name it, and "
        "do gradients alone do as well?",
    .make = make_task<HiddenGoalsTask>,
};

}  // namespace assay::eval::hidden_goals
