#include "eval/tasks/hidden_goals/task.h"

#include <fmt/format.h>

#include <algorithm>

#include "eval/tasks/hidden_goals/numbers.h"
#include "kernels/base/error.h"
#include "kernels/base/rng.h"

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

void append_arms(std::vector<GoalScores> scores, int dictionary, bool calibrated,
                 std::vector<GoalArm>& arms) {
  for (GoalScores& s : scores) {
    GoalArm arm{s.method + (calibrated ? "" : "_uncalibrated"),
                dictionary,
                calibrated,
                std::move(s.settings),
                {}};
    for (auto& row : s.scores) arm.scores.push_back({std::move(row)});
    arms.push_back(std::move(arm));
  }
}

std::string GoalTask::missing(const Session& session) const {
  const HiddenGoalsConfig& config = settings(session);
  for (const std::string& label : {config.class_label, config.filter_label})
    if (!label.empty() && !has_label(session.dataset, label))
      return fmt::format("needs label '{0}' ({1}.class_label and .filter_label)", label, name());
  return {};
}

void GoalTask::request(const Session& session, EncodeRequest& request) {
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
  table_ = text_table(session.dataset);
  plan_ = plan_goals(session.dataset, table_, config, session.config.seeds,
                     derive_seed(session.seed, {'g'}));
  for (const GoalRun& run : plan_.runs)
    for (const GoalTexts* part : {&run.audit, &run.concepts})
      request.texts.insert(request.texts.end(), part->texts.begin(), part->texts.end());
}

void GoalTask::run(const Session& session, const EncodeCache& cache, TaskResult& result) {
  const HiddenGoalsConfig& config = settings(session);
  GoalCases cases;
  cases.half = plan_.half;
  std::vector<GoalArm> arms;
  std::vector<double> fits;
  for (size_t r = 0; r < plan_.runs.size(); ++r) {
    const GoalRun& run = plan_.runs[r];
    const uint64_t seed = derive_seed(session.seed, {'r', r});
    const std::vector<Organism> organisms =
        list_organisms(config, static_cast<int64_t>(r), std::ssize(plan_.classes),
                       derive_seed(session.seed, {'o'}));
    session.log(fmt::format("{}: {} organisms, run {} of {}", name(), organisms.size(), r + 1,
                            plan_.runs.size()));
    const RunScores scored = score_run(session, cache, run, organisms, seed);
    for (const std::vector<GoalArm>& one : scored.arms) merge(one, arms);
    cases.organisms.insert(cases.organisms.end(), organisms.begin(), organisms.end());
    fits.insert(fits.end(), scored.fits.begin(), scored.fits.end());
  }
  const GoalSetup setup{plan_.classes,
                        config.strengths,
                        config.headline_strength,
                        "direct_query",
                        {"latents_exemplar", "latents_labelled"},
                        "organisms"};
  report_goals(session, setup, cases, arms, seen_by_dictionary(session), result);
  describe_organisms(cases, fit_name(), fits, result);
}

std::vector<std::optional<bool>> GoalTask::seen_by_dictionary(const Session& session) const {
  std::vector<int64_t> documents;
  for (const GoalRun& run : plan_.runs)
    for (const int64_t t : run.concepts.texts) documents.push_back(table_.document[t]);
  std::vector<std::optional<bool>> seen;
  for (const EvalDictionary& dictionary : session.dictionaries)
    seen.push_back(seen_in_training(session, dictionary, documents));
  return seen;
}

}  // namespace assay::eval::hidden_goals
