#include "eval/tasks/hidden_goals/upper.h"

#include "eval/tasks/hidden_goals/gradients.h"
#include "eval/tasks/hidden_goals/upper_organisms.h"

namespace assay::eval::hidden_goals {
namespace {

class HiddenGoalsUpperTask final : public GradientGoalTask {
 public:
  explicit HiddenGoalsUpperTask(MakeTrainable make)
      : GradientGoalTask(kHiddenGoalsUpper), make_(std::move(make)) {}
  std::string missing(const Session& session) const override {
    const std::string lacks = make_ ? "" : lacks_halves(session, sae::HalfOutput::embedding);
    return lacks.empty() ? GoalTask::missing(session) : lacks;
  }

 private:
  const HiddenGoalsConfig& settings(const Session& session) const override {
    return session.config.of<GoalUpperConfig>();
  }
  std::unique_ptr<OrganismMaker> maker(const Session& session, const EncodeCache&,
                                       const TextTable& table, const GoalRun& run,
                                       const GoalData& data) const override {
    return make_half_organisms(session.context, make_ ? make_ : halves_of_model(session),
                               session.dataset, table, run, data,
                               session.config.of<GoalUpperConfig>());
  }
  static MakeTrainable halves_of_model(const Session& session) {
    const auto folder = sae::ModelFolder::open(session.model, session.trust_model_code);
    const data::DatasetInfo& info = session.dataset.info();
    sae::check_fit(folder, session.dataset.hook("activations").d, info.model, info.hook,
                   info.path.string());
    return [folder] { return sae::load_trainable_half(folder); };
  }

  MakeTrainable make_;
};

}  // namespace

std::unique_ptr<Task> make_hidden_goals_upper_task(MakeTrainable make) {
  return std::make_unique<HiddenGoalsUpperTask>(std::move(make));
}

const TaskEntry kHiddenGoalsUpper{
    .name = "hidden_goals_upper",
    .title = "Hidden goals above the layer",
    .question =
        "For whoever audits a model that was fine-tuned after the layer that the dictionary reads: "
        "does the dictionary help to notice that something is hidden there, and to name it, and do "
        "gradients alone do as well?",
    .by_default = false,
    .make = [] { return make_hidden_goals_upper_task({}); },
};

}  // namespace assay::eval::hidden_goals
