// One run of the hidden-goals task on a model's difference, over planted data.
#pragma once

#include <algorithm>
#include <string>
#include <vector>

#include "eval/tasks/hidden_goals/diff_methods.h"
#include "tests/eval/eval_session.h"

namespace assay::eval::hidden_goals::test {

inline constexpr int64_t kClasses = 6, kDim = 24;

struct DiffFixture : eval::test::SessionFixture {
  explicit DiffFixture(const std::string& name, bool random_labels = false, int threads = 2)
      : SessionFixture(
            name,
            {.classes = kClasses, .documents = 600, .strength = 2, .random_labels = random_labels},
            threads) {
    config.seeds = 2;
    GoalAdaptersConfig& goals = config.of<GoalAdaptersConfig>();
    goals.strengths = {100};
    goals.headline_strength = 100;
    goals.benign = 8;
    goals.calibration = 4;
    goals.latents = {1, 2};  // the oracle has one latent a class
    goals.class_latents = {1};
  }
};

/// Latent c reads direction e_c alone, above the noise.
inline sae::Dictionary diff_oracle() {
  sae::Dictionary dictionary = eval::test::identity_dictionary(kDim, 4);
  std::fill(dictionary.b_enc.begin(), dictionary.b_enc.end(), -1.0f);
  return dictionary;
}

/// One run's texts, tokens and adapters.
struct DiffAudit {
  explicit DiffAudit(const std::string& name)
      : fixture(name),
        table(text_table(*fixture.dataset)),
        goals(fixture.config.of<GoalAdaptersConfig>()) {
    run = plan_goals(*fixture.dataset, table, goals, 1, 5).runs[0];
    EncodeRequest request;
    for (const GoalTexts* part : {&run.audit, &run.concepts}) request.add_texts(part->texts);
    dictionary = diff_oracle();
    const sae::Dictionary* const list[] = {&dictionary};
    cache = encode_once(fixture.context, *fixture.dataset, &table, list, request, {0.2, 0.05, 0});
    data = make_goal_data(run, kClasses, cache);
    std::vector<TokenRows> tokens =
        gather_tokens(*fixture.dataset, table, {&run.train, &run.audit, &run.query});
    train = std::move(tokens[0]);
    audit = std::move(tokens[1]);
    query = std::move(tokens[2]);
  }

  Organism organism(GoalKind kind, int32_t goal, int32_t absent) const {
    return {kind, 0, goal < 0 ? 0 : goals.headline_strength, goal, absent, 0};
  }

  DiffFixture fixture;
  TextTable table;
  GoalAdaptersConfig goals;
  GoalRun run;
  sae::Dictionary dictionary;
  EncodeCache cache;
  GoalData data;
  TokenRows train, audit, query;
};

}  // namespace assay::eval::hidden_goals::test
