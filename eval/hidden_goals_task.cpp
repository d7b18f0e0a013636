#include "eval/hidden_goals_task.h"

#include <fmt/format.h>

#include <algorithm>

#include "eval/hidden_goals_report.h"
#include "eval/rng.h"
#include "kernels/error.h"

namespace assay::eval {
namespace {

/// An organism's readings: as they are, and less the mean of the run's calibration organisms (without itself).
struct Readings {
  Reading raw, calibrated;
};

Readings read_organism(const std::vector<Organism>& organisms, const std::vector<Probed>& probed, size_t index) {
  const int32_t absent = organisms[index].absent;
  std::vector<Reading> others;
  for (size_t i = 0; i < organisms.size(); ++i)
    if (organisms[i].kind == GoalKind::calibration && i != index) others.push_back(probed[i].without(absent));
  std::vector<const Reading*> pointers;
  for (const Reading& other : others) pointers.push_back(&other);
  Readings readings{probed[index].without(absent), {}};
  readings.calibrated = less_mean(readings.raw, pointers);
  return readings;
}

/// Scores of one organism by every arm, in the arms' order.
using OrganismScores = std::vector<GoalArm>;

void append(OrganismScores& list, std::vector<GoalScores> scores, int dictionary, bool calibrated) {
  for (GoalScores& s : scores) {
    GoalArm arm{s.method + (calibrated ? "" : "_uncalibrated"), dictionary, calibrated, std::move(s.settings), {}};
    for (auto& row : s.scores) arm.scores.push_back({std::move(row)});
    list.push_back(std::move(arm));
  }
}

/// Every organism of one run by every arm.
std::vector<OrganismScores> score_run(const Session& session, const EncodeCache& cache, const GoalRun& run,
                                      const GoalData& data, const HiddenGoalsConfig& config,
                                      const std::vector<Organism>& organisms, const std::vector<Probed>& probed,
                                      uint64_t seed) {
  const DenseAuditor dense(session.context, data, config, seed);
  std::vector<LatentAuditor> latents;
  for (size_t i = 0; i < session.dictionaries.size(); ++i)
    latents.emplace_back(session.dictionaries[i].dictionary, cache, cache.dictionaries[i].pooled, run.concepts, data,
                         config);
  std::vector<OrganismScores> scores(organisms.size());
  session.context.pool().run(std::ssize(organisms), [&](int64_t i, int) {
    const Readings readings = read_organism(organisms, probed, static_cast<size_t>(i));
    OrganismScores& own = scores[static_cast<size_t>(i)];
    for (const bool calibrated : {true, false}) {
      const Reading& reading = calibrated ? readings.calibrated : readings.raw;
      append(own, dense.score(reading, organisms[static_cast<size_t>(i)].absent), -1, calibrated);
      for (size_t k = 0; k < latents.size(); ++k)
        append(own, latents[k].score(reading), static_cast<int>(k), calibrated);
    }
  });
  return scores;
}

void merge(const OrganismScores& one, std::vector<GoalArm>& arms) {
  if (arms.empty()) {
    arms = one;
    return;
  }
  for (size_t a = 0; a < arms.size(); ++a)
    for (size_t s = 0; s < arms[a].scores.size(); ++s) arms[a].scores[s].push_back(one[a].scores[s][0]);
}

}  // namespace

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
    throw Error(fmt::format("{}: headline_strength = {} is not one of strengths", name(), config.headline_strength));
  for (const auto& [key, list] :
       {std::pair("latents", &config.latents), std::pair("class_latents", &config.class_latents),
        std::pair("exemplar_texts", &config.exemplar_texts)})
    if (list->empty()) throw Error(fmt::format("{}: {} is empty, expected at least one number", name(), key));
  table_ = text_table(session.dataset);
  plan_ = plan_goals(session.dataset, table_, config, session.config.seeds, derive_seed(session.seed, {'g'}));
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
        list_organisms(config, static_cast<int64_t>(r), std::ssize(plan_.classes), derive_seed(session.seed, {'o'}));
    const GoalData data = make_goal_data(run, std::ssize(plan_.classes), cache);
    session.log(
        fmt::format("{}: training {} organisms, run {} of {}", name(), organisms.size(), r + 1, plan_.runs.size()));
    const std::vector<Probed> probed =
        train_organisms(session.context, *maker(session, cache, run, data), run, organisms, table_, seed);
    for (const OrganismScores& scores : score_run(session, cache, run, data, config, organisms, probed, seed))
      merge(scores, arms);
    cases.organisms.insert(cases.organisms.end(), organisms.begin(), organisms.end());
    for (const Probed& p : probed) fits.push_back(p.r_squared);
  }
  const GoalSetup setup{plan_.classes,
                        config.strengths,
                        config.headline_strength,
                        "direct_query",
                        {"latents_exemplar", "latents_labelled"},
                        "organisms"};
  report_goals(session, setup, cases, arms, seen_by_dictionary(session), result);
  describe_organisms(cases, fits, result);
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

}  // namespace assay::eval
