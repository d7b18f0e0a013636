#include "eval/tasks/hidden_goals/task.h"

#include <fmt/format.h>

#include <algorithm>

#include "eval/tasks/hidden_goals/numbers.h"
#include "eval/tasks/needed_labels.h"
#include "kernels/base/error.h"
#include "kernels/base/random.h"

namespace assay::eval::hidden_goals {
namespace {

void merge(const std::vector<GoalArm>& one, std::vector<GoalArm>& arms) {
  if (arms.empty()) {
    arms = one;
    return;
  }
  for (size_t a = 0; a < arms.size(); ++a)
    for (size_t s = 0; s < arms[a].scores.size(); ++s)
      arms[a].scores[s].push_back(one[a].scores[s][0]);
}

}  // namespace

void append_arms(std::vector<GoalScores> scores, std::optional<size_t> dictionary, bool calibrated,
                 std::vector<GoalArm>& arms) {
  for (GoalScores& s : scores) {
    GoalArm arm{.method = s.method + (calibrated ? "" : "_uncalibrated"),
                .dictionary = dictionary,
                .calibrated = calibrated,
                .settings = std::move(s.settings),
                .scores = {}};
    for (auto& row : s.scores) arm.scores.push_back({std::move(row)});
    arms.push_back(std::move(arm));
  }
}

std::string GoalTask::missing(const Session& session) const {
  const HiddenGoalsConfig& config = settings(session);
  return lacks_labels(session.dataset, {{config.class_label, name() + ".class_label"},
                                        {config.filter_label, name() + ".filter_label"}});
}

GoalTaskPlan GoalTask::make_plan(const Session& session, EncodeRequest& request) const {
  const HiddenGoalsConfig& config = settings(session);
  const auto& strengths = config.strengths;
  if (std::find(strengths.begin(), strengths.end(), config.headline_strength) == strengths.end())
    throw Error(fmt::format("{}: headline_strength = {} is not one of strengths", name(),
                            config.headline_strength));
  for (const auto& [key, list] :
       {std::pair("latents", &config.latents), std::pair("class_latents", &config.class_latents),
        std::pair("exemplar_texts", &config.exemplar_texts)})
    if (list->empty())
      throw Error(fmt::format("{}: {} is empty, expected at least one number", name(), key));
  GoalTaskPlan plan{text_table(session), {}};
  plan.goals = plan_goals(session.dataset, plan.table, config, session.config.seeds,
                          derive_seed(session.seed, {'g'}));
  for (const GoalRun& run : plan.goals.runs)
    for (const GoalTexts* part : {&run.audit, &run.concepts}) request.add_texts(part->texts);
  return plan;
}

void GoalTask::run_plan(const Session& session, const EncodeCache& cache, const GoalTaskPlan& plan,
                        TaskResult& result) const {
  const GoalPlan& goals = plan.goals;
  const HiddenGoalsConfig& config = settings(session);
  GoalCases cases;
  cases.fold = goals.fold;
  std::vector<GoalArm> arms;
  std::vector<double> fits;
  for (size_t r = 0; r < goals.runs.size(); ++r) {
    const GoalRun& run = goals.runs[r];
    const uint64_t seed = derive_seed(session.seed, {'r', r});
    const std::vector<Organism> organisms =
        list_organisms(config, static_cast<int64_t>(r), std::ssize(goals.classes),
                       derive_seed(session.seed, {'o'}));
    session.log(fmt::format("{}: {} organisms, run {} of {}", name(), organisms.size(), r + 1,
                            goals.runs.size()));
    const RunScores scored = score_run(session, cache, plan, run, organisms, seed);
    for (const std::vector<GoalArm>& one : scored.arms) merge(one, arms);
    cases.organisms.insert(cases.organisms.end(), organisms.begin(), organisms.end());
    fits.insert(fits.end(), scored.fits.begin(), scored.fits.end());
  }
  const GoalSetup setup{.names = goals.classes,
                        .strengths = config.strengths,
                        .headline = config.headline_strength,
                        .ceiling = "direct_query",
                        .latents = {"latents_exemplar", "latents_labelled"}};
  std::vector<int64_t> documents;
  for (const GoalRun& run : goals.runs)
    for (const GoalTexts* part : {&run.audit, &run.concepts})
      for (const int64_t t : part->texts) documents.push_back(plan.table.document[t]);
  report_goals(session, setup, cases, arms, seen_by_dictionary(session, documents), result);
  describe_organisms(cases, fit_name(), fits, result);
}

}  // namespace assay::eval::hidden_goals
