#include "eval/tasks/hidden_goals/gradients.h"

namespace assay::eval::hidden_goals {
namespace {

/// Every organism of one run by every arm.
std::vector<std::vector<GoalArm>> score_organisms(const Session& session, const EncodeCache& cache,
                                                  const GoalRun& run, const GoalData& data,
                                                  const HiddenGoalsConfig& config,
                                                  const std::vector<Organism>& organisms,
                                                  const std::vector<Probed>& probed,
                                                  uint64_t seed) {
  const DenseAuditor dense(session.context, data, config, seed);
  std::vector<LatentAuditor> latents;
  for (size_t i = 0; i < session.dictionaries.size(); ++i)
    latents.emplace_back(session.dictionaries[i].dictionary, cache, cache.dictionaries[i].pooled,
                         run.concepts, data, config);
  std::vector<std::vector<GoalArm>> scores(organisms.size());
  session.context.pool().run(std::ssize(organisms), [&](int64_t i, int) {
    const Readings readings = read_organism(organisms, probed, static_cast<size_t>(i));
    std::vector<GoalArm>& own = scores[static_cast<size_t>(i)];
    for (const bool calibrated : {true, false}) {
      const Reading& reading = calibrated ? readings.calibrated : readings.raw;
      append_arms(dense.score(reading, organisms[static_cast<size_t>(i)].absent), std::nullopt,
                  calibrated, own);
      for (size_t k = 0; k < latents.size(); ++k)
        append_arms(latents[k].score(reading), k, calibrated, own);
    }
  });
  return scores;
}

}  // namespace

GoalTask::RunScores GradientGoalTask::score_run(const Session& session, const EncodeCache& cache,
                                                const GoalTaskPlan& plan, const GoalRun& run,
                                                const std::vector<Organism>& organisms,
                                                uint64_t seed) const {
  const HiddenGoalsConfig& config = settings(session);
  const GoalData data = make_goal_data(run, std::ssize(plan.goals.classes), cache);
  const std::vector<Probed> probed =
      train_organisms(session.context, *maker(session, cache, plan.table, run, data), run,
                      organisms, plan.table, seed);
  RunScores result{score_organisms(session, cache, run, data, config, organisms, probed, seed), {}};
  for (const Probed& p : probed) result.fits.push_back(p.r_squared);
  return result;
}

}  // namespace assay::eval::hidden_goals
