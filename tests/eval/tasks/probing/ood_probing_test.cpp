#include "eval/tasks/probing/ood_probing.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <set>
#include <string>

#include "eval/tasks/probing/sample.h"
#include "kernels/base/error.h"
#include "tests/eval/eval_session.h"

namespace assay::eval::probing {
namespace {

using test::find;

TEST(OodProbing, AnOracleScoresOneAndItsControlsLess) {
  test::SessionFixture fixture("ood_oracle", {});
  // Latent c reads direction e_c alone, above the noise: one latent says the class.
  sae::Dictionary oracle = test::identity_dictionary(24, 4);
  std::fill(oracle.b_enc.begin(), oracle.b_enc.end(), -2.5f);
  fixture.add(oracle, "oracle");
  add_nulls(fixture.dictionaries, {"random"}, *fixture.dataset, 3);
  const auto results = fixture.run({"ood_probing"});
  ASSERT_EQ(results[0].status, "ok") << results[0].reason;
  for (const char* part : {"id", "ood"}) {
    EXPECT_GT(find(results[0], "auroc", "latents_top1", "oracle", part)->value, 0.99) << part;
    EXPECT_GT(find(results[0], "auroc", "dense_lr", "", part)->value, 0.99) << part;
    const double null = find(results[0], "auroc", "latents_top1", "oracle:random", part)->value;
    EXPECT_LT(null, find(results[0], "auroc", "latents_top1", "oracle", part)->value) << part;
  }
  const Number* difference =
      find(results[0], "auroc_difference", "latents_top4 - random_top4", "oracle", "ood");
  ASSERT_NE(difference, nullptr);
  EXPECT_EQ(difference->control, "oracle:random");
  EXPECT_NEAR(difference->value,
              find(results[0], "auroc", "latents_top4", "oracle", "ood")->value -
                  find(results[0], "auroc", "latents_top4", "oracle:random", "ood")->value,
              1e-12);
  EXPECT_NE(find(results[0], "auroc_difference", "latents_top4 - neurons_top4", "oracle", "ood"),
            nullptr);
  EXPECT_TRUE(*find(results[0], "auroc", "latents_top4", "oracle", "ood")->test_seen_in_training);
  EXPECT_FALSE(
      *find(results[0], "auroc", "latents_top4", "oracle:random", "ood")->test_seen_in_training);
  for (const Number& n : results[0].numbers) EXPECT_TRUE(n.interval.has_value()) << n.metric;
}

TEST(OodProbing, EveryArmOfADictionaryMayWinAndSaysWhatItReads) {
  test::SessionFixture fixture("ood_arms", {});
  fixture.add(test::random_dictionary(24, 60, 8, 5), "a");
  const TaskResult result = fixture.run({"ood_probing"})[0];
  ASSERT_EQ(result.status, "ok") << result.reason;
  std::set<std::string> own, baselines, headlines;
  for (const Score& score : result.scores) {
    (score.dictionary.empty() ? baselines : own).insert(score.method);
    if (score.headline) headlines.insert(score.method);
  }
  EXPECT_EQ(own, (std::set<std::string>{"latents_top1", "latents_top4", "latents_top4_pooled",
                                        "latents_all", "latents_all_one_scale", "latents_all_sqrt",
                                        "latents_all_binary", "latents_l1", "latents_searched",
                                        "reconstruction_lr"}))
      << "a quiver holds baselines too";
  for (const char* baseline : {"dense_lr", "dense_lr_max", "activations_searched", "quiver_dense"})
    EXPECT_EQ(baselines.count(baseline), 1u) << baseline;
  EXPECT_EQ(headlines, std::set<std::string>{"latents_top4"});
  std::map<std::string, std::string> reads;
  for (const ArmEntry& arm : result.arms) reads[arm.name] = arm.reads;
  EXPECT_EQ(reads["latents_top4"], "4");
  EXPECT_EQ(reads["dense_lr"], "24");
  const auto& read = result.details["numbers_read"][0];
  EXPECT_GT(read["active_in_a_text"].get<double>(), 8);
  EXPECT_EQ(read["active_in_its_last_token"].get<double>(), 8);
  EXPECT_EQ(reads["latents_all_sqrt"],
            std::to_string(static_cast<int64_t>(read["active_in_a_text"].get<double>())));
  const size_t cells = result.details["classes"].size();
  EXPECT_EQ(result.details["searched"].size(), 2 * cells) << "activations and latents";
}

TEST(OodProbing, LabelsThatMeanNothingScoreChance) {
  test::PlantedOptions options;
  options.random_labels = true;
  test::SessionFixture fixture("ood_random", options);
  fixture.add(test::random_dictionary(24, 60, 8, 5), "a");
  const auto results = fixture.run({"ood_probing"});
  ASSERT_EQ(results[0].status, "ok") << results[0].reason;
  for (const Number& n : results[0].numbers)
    if (n.metric == "auroc") {
      EXPECT_NEAR(n.value, 0.5, 0.12) << n.method << n.part;
    }
  EXPECT_EQ(results[0].checks.size(), 4u) << "two arms, two parts";
}

TEST(OodProbing, SameNumbersOnAnyNumberOfThreads) {
  std::vector<TaskResult> runs[2];
  for (const int threads : {1, 3}) {
    test::SessionFixture fixture("ood_threads", {}, threads);
    fixture.add(test::random_dictionary(24, 60, 8, 5), "a");
    runs[threads == 3] = fixture.run({"core", "ood_probing"});
  }
  for (size_t t = 0; t < 2; ++t) {
    ASSERT_EQ(runs[0][t].numbers.size(), runs[1][t].numbers.size());
    for (size_t i = 0; i < runs[0][t].numbers.size(); ++i) {
      EXPECT_EQ(runs[0][t].numbers[i].value, runs[1][t].numbers[i].value);
      EXPECT_EQ(runs[0][t].numbers[i].interval, runs[1][t].numbers[i].interval);
    }
    EXPECT_EQ(runs[0][t].details, runs[1][t].details);
  }
}

TEST(OodProbing, OneFailingTaskDoesNotStopTheOthers) {
  test::SessionFixture fixture("ood_failing", {});
  fixture.config.of<OodConfig>().source = "absent";
  fixture.add(test::random_dictionary(24, 60, 8, 5), "a");
  const auto results = fixture.run({"core", "ood_probing"});
  EXPECT_EQ(results[0].status, "ok") << results[0].reason;
  EXPECT_EQ(results[1].status, "failed");
  EXPECT_NE(results[1].reason.find("absent"), std::string::npos) << results[1].reason;
}

TEST(OodProbing, LabelsThatTheDataLackAreNamedBeforeTheRun) {
  test::PlantedOptions options;
  options.format = "kind";
  test::SessionFixture fixture("ood_lacking", options);
  fixture.add(test::random_dictionary(24, 60, 8, 5), "a");
  try {
    fixture.run({"ood_probing"});
    FAIL() << "ran without its label";
  } catch (const UsageError& error) {
    EXPECT_NE(std::string(error.what()).find("label 'format'"), std::string::npos) << error.what();
  }
}

class ProbingPlanTest : public ::testing::Test {
 protected:
  ProbingPlanTest() : fixture_("ood_plan", {}), table_(text_table(*fixture_.dataset)) {}
  ProbingPlan plan(const OodConfig& config) {
    return plan_probing(*fixture_.dataset, table_, config, 2, 5);
  }
  test::SessionFixture fixture_;
  TextTable table_;
};

TEST_F(ProbingPlanTest, TrainAndTestShareNoDocumentAndTextsAreWhatTheyShouldBe) {
  const ProbingPlan p = plan(fixture_.config.of<OodConfig>());
  EXPECT_EQ(p.runs, 4);
  EXPECT_EQ(p.cells.size(), p.classes.size() * 4);
  const auto format = text_labels(*fixture_.dataset, table_, "format");
  const auto pos = text_labels(*fixture_.dataset, table_, "part_of_speech");
  const auto category = text_labels(*fixture_.dataset, table_, "category");
  for (const ProbingCell& cell : p.cells) {
    std::set<int64_t> train, test;
    for (const int64_t t : cell.train.texts) train.insert(table_.document[t]);
    for (const auto* part : {&cell.id, &cell.ood})
      for (const int64_t t : part->texts) test.insert(table_.document[t]);
    for (const int64_t document : train) EXPECT_EQ(test.count(document), 0u);
    const int32_t label =
        class_index(fixture_.dataset->label("category"), p.classes[cell.category]);
    for (const auto* part : {&cell.train, &cell.id, &cell.ood})
      for (size_t i = 0; i < part->texts.size(); ++i) {
        EXPECT_EQ(format[part->texts[i]], part == &cell.ood ? 1 : 0);
        EXPECT_EQ(pos[part->texts[i]], 0);
        EXPECT_EQ(category[part->texts[i]] == label, part->labels[i] == 1);
      }
    EXPECT_EQ(std::count(cell.train.labels.begin(), cell.train.labels.end(), 1) * 2,
              std::ssize(cell.train.labels));
  }
}

TEST_F(ProbingPlanTest, ALeakIsNoticed) {
  ProbingCell cell = plan(fixture_.config.of<OodConfig>()).cells[0];
  EXPECT_NO_THROW(check_disjoint(cell, table_));
  cell.ood.texts.push_back(cell.train.texts[0]);
  cell.ood.labels.push_back(1);
  EXPECT_THROW(check_disjoint(cell, table_), Error);
}

TEST_F(ProbingPlanTest, LimitsHold) {
  OodConfig config = fixture_.config.of<OodConfig>();
  config.classes = 2;
  config.train_per_class = 12;
  config.test_positives = 7;
  config.test_negatives = 9;
  const ProbingPlan p = plan(config);
  EXPECT_EQ(p.classes.size(), 2u);
  for (const ProbingCell& cell : p.cells) {
    EXPECT_EQ(cell.train.texts.size(), 24u);
    EXPECT_EQ(cell.id.texts.size(), 16u);
    EXPECT_EQ(cell.ood.texts.size(), 16u);
  }
}

TEST_F(ProbingPlanTest, MissingLabelsAndClassesAreNamed) {
  OodConfig config = fixture_.config.of<OodConfig>();
  config.source = "gloss";
  try {
    plan(config);
    FAIL();
  } catch (const Error& error) {
    const std::string what = error.what();
    EXPECT_NE(what.find("gloss"), std::string::npos) << what;
    EXPECT_NE(what.find("definition, example"), std::string::npos) << what;
  }
  config = fixture_.config.of<OodConfig>();
  config.class_label = "topic";
  EXPECT_THROW(plan(config), Error);
  config = fixture_.config.of<OodConfig>();
  config.min_target = 100000;
  EXPECT_THROW(plan(config), Error);
}

}  // namespace
}  // namespace assay::eval::probing
