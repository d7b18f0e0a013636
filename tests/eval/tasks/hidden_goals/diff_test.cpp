#include "eval/tasks/hidden_goals/diff.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "eval/tasks/hidden_goals/diff_methods.h"
#include "eval/tasks/hidden_goals/scores.h"
#include "kernels/base/error.h"
#include "tests/eval/tasks/hidden_goals/diff_audit.h"

namespace assay::eval::hidden_goals {
namespace {

using eval::test::find;
using test::diff_oracle;
using test::DiffAudit;
using test::DiffFixture;
using test::kClasses;
using test::kDim;

TEST(HiddenGoalsDiff, AnOracleNamesTheGoals) {
  DiffFixture fixture("diff_oracle");
  fixture.add(diff_oracle(), "oracle");
  const auto results = fixture.run({"hidden_goals_diff"});
  ASSERT_EQ(results[0].status, "ok") << results[0].reason;
  for (const char* method : {"latents_exemplar", "latents_labelled"})
    EXPECT_GT(find(results[0], "top1", method, "oracle", "strength 1.00")->value, 0.9) << method;
  for (const char* method :
       {"direct_query", "dense_posterior", "ridge_exemplar", "ridge_mean_difference"})
    EXPECT_GT(find(results[0], "top1", method, "", "strength 1.00")->value, 0.9) << method;
  EXPECT_GT(
      find(results[0], "detection_auroc", "latents_labelled", "oracle", "strength 1.00")->value,
      0.8);
  for (const Number& n : results[0].numbers) EXPECT_TRUE(n.interval.has_value()) << n.metric;
  for (const auto& row : results[0].details["organisms"]) {
    if (row["kind"] == "planted")
      EXPECT_GT(row["least_trigger_auroc"], 0.7);
    else
      EXPECT_NEAR(row["mean_trigger_auroc"], 0.5, 0.1) << row["kind"];
  }
  EXPECT_TRUE(std::any_of(fixture.log.begin(), fixture.log.end(), [](const std::string& line) {
    return line.find("black_box is left out") != std::string::npos;
  })) << "the planted data have no texts";
}

TEST(HiddenGoalsDiff, WhatIsAddedTellsNothing) {
  DiffAudit r("diff_content_free");
  const AdapterMaker maker(r.fixture.context, r.train, kClasses, r.goals);
  const ShiftReader reader(r.data, r.audit, r.query);
  const DenseDiffAuditor dense(r.fixture.context, r.data, r.audit, std::nullopt, r.goals, 1);
  const LatentDiffAuditor latents(r.fixture.context, r.dictionary, r.cache,
                                  r.cache.dictionaries[0].pooled, r.run.concepts, r.data, r.audit,
                                  r.goals);
  constexpr int kDraws = 300;
  double mean = 0, pca = 0, benign_latents = 0, benign_posterior = 0;
  for (int i = 0; i < kDraws; ++i) {
    const auto c = static_cast<int32_t>(i % kClasses);
    const auto seed = static_cast<uint64_t>(i);
    const auto planted = dense.score(
        reader.read(reader.run(maker.make(r.organism(GoalKind::planted, c, c), seed), c), c), c);
    ASSERT_EQ(planted[1].method, "shift_mean");
    mean += credit(planted[1].scores[0], c).reciprocal / kDraws;
    pca += credit(planted[2].scores[0], c).reciprocal / kDraws;
    const ShiftReading drift =
        reader.read(reader.run(maker.make(r.organism(GoalKind::benign, -1, c), seed), c), c);
    ASSERT_EQ(dense.score(drift, c)[3].method, "dense_posterior");
    // Of random drift; without calibration, so that the draws are independent.
    benign_posterior += credit(dense.score(drift, c)[3].scores[2], c).reciprocal / kDraws;
    benign_latents += credit(latents.score(drift, c)[1].scores[1], c).reciprocal / kDraws;
  }
  const double chance = chance_credit(kClasses).reciprocal;  // a draw's sd is .31
  EXPECT_NEAR(mean, chance, 0.075);
  EXPECT_NEAR(pca, chance, 0.075);
  EXPECT_NEAR(benign_posterior, chance, 0.075);
  EXPECT_NEAR(benign_latents, chance, 0.075);
}

/// Were calibration organisms read without a class of their own, their tokens of the organism's
/// absent class would stay in what is subtracted and tell it.
TEST(HiddenGoalsDiff, CalibrationIsReadWithoutTheClassOfTheOrganismThatIsCalibrated) {
  DiffAudit r("diff_calibration");
  const AdapterMaker maker(r.fixture.context, r.train, kClasses, r.goals);
  const ShiftReader reader(r.data, r.audit, r.query);
  const std::vector<Organism> organisms = {
      r.organism(GoalKind::benign, -1, 4), r.organism(GoalKind::calibration, -1, 0),
      r.organism(GoalKind::calibration, -1, 1), r.organism(GoalKind::planted, 2, 2)};
  std::vector<ShiftedTokens> shifted;
  for (size_t i = 0; i < organisms.size(); ++i)
    shifted.push_back(reader.run(maker.make(organisms[i], i), organisms[i].absent));
  const auto moved = [&](size_t i, int32_t absent) {
    return reader.read(shifted[i], absent).moved[0];
  };
  const ShiftReadings benign = read_organism(reader, organisms, shifted, 0),
                      calibration = read_organism(reader, organisms, shifted, 1);
  const std::vector<double> own = moved(0, 4), first = moved(1, 4), second = moved(2, 4),
                            other = moved(1, 0), partner = moved(2, 0);
  for (size_t i = 0; i < own.size(); ++i) {
    EXPECT_EQ(benign.raw.moved[0][i], own[i]);
    EXPECT_NEAR(benign.calibrated.moved[0][i], own[i] - (first[i] + second[i]) / 2, 1e-12);
    if (r.audit.classes[i] == 4) {
      EXPECT_EQ(benign.calibrated.moved[0][i], 0) << "the absent class says nothing";
    }
    EXPECT_NEAR(calibration.calibrated.moved[0][i], other[i] - partner[i], 1e-12)
        << "without itself";
  }
}

TEST(HiddenGoalsDiff, TriggersThatLearntNothingAreWithheld) {
  DiffFixture fixture("diff_random", true);
  fixture.add(eval::test::random_dictionary(kDim, 60, 8, 5), "a");
  fixture.config.of<GoalAdaptersConfig>().strengths = {1};
  fixture.config.of<GoalAdaptersConfig>().headline_strength = 1;
  const auto results = fixture.run({"hidden_goals_diff"});
  EXPECT_EQ(results[0].status, "withheld");
  EXPECT_NE(results[0].reason.find("organisms show what was planted"), std::string::npos)
      << results[0].reason;
}

TEST(HiddenGoalsDiff, SameNumbersOnAnyNumberOfThreads) {
  TaskResult runs[2];
  for (const int threads : {1, 3}) {
    DiffFixture fixture("diff_threads", false, threads);
    fixture.config.seeds = 1;
    fixture.add(eval::test::random_dictionary(kDim, 60, 8, 5), "a");
    runs[threads == 3] = fixture.run({"hidden_goals_diff"})[0];
  }
  ASSERT_FALSE(runs[0].numbers.empty());
  ASSERT_EQ(runs[0].numbers.size(), runs[1].numbers.size());
  for (size_t i = 0; i < runs[0].numbers.size(); ++i) {
    EXPECT_EQ(runs[0].numbers[i].value, runs[1].numbers[i].value);
    EXPECT_EQ(runs[0].numbers[i].interval, runs[1].numbers[i].interval);
  }
  EXPECT_EQ(runs[0].details, runs[1].details);
}

TEST(HiddenGoalsDiff, BadSettingsFailThisTaskAlone) {
  DiffFixture fixture("diff_bad");
  fixture.add(eval::test::random_dictionary(kDim, 60, 8, 5), "a");
  fixture.config.of<GoalAdaptersConfig>().min_texts = 100000;
  const auto results = fixture.run({"core", "hidden_goals_diff"});
  EXPECT_EQ(results[0].status, "ok");
  EXPECT_EQ(results[1].status, "failed");
  EXPECT_NE(results[1].reason.find("min_texts"), std::string::npos) << results[1].reason;
  fixture.config.of<GoalAdaptersConfig>().min_texts = 20;
  fixture.config.of<GoalAdaptersConfig>().headline_strength = 7;
  const auto other = fixture.run({"hidden_goals_diff"});
  EXPECT_EQ(other[0].status, "failed");
  EXPECT_NE(other[0].reason.find("hidden_goals_diff: headline_strength = 7"), std::string::npos)
      << other[0].reason;
}

}  // namespace
}  // namespace assay::eval::hidden_goals
