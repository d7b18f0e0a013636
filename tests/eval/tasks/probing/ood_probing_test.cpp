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
  const std::string active = reads["latents_all_sqrt"];
  EXPECT_EQ(reads["latents_searched"], "1 to " + active);
  EXPECT_EQ(reads["activations_searched"], "1 to 24");
  EXPECT_EQ(reads["quiver_dense"], "1 to 24");
  EXPECT_EQ(reads["quiver_latents"], "1 to " + std::to_string(std::max(24, std::stoi(active))));
  const size_t cells = result.details["classes"].size();
  EXPECT_EQ(result.details["searched"].size(), 2 * cells) << "activations and latents";
}

TEST(OodProbing, TheHeadlineIsComparedWithEveryBaselineAndWithAsManyNeurons) {
  test::SessionFixture fixture("ood_differences", {});
  fixture.add(test::random_dictionary(24, 60, 8, 5), "a");
  const TaskResult result = fixture.run({"ood_probing"})[0];
  ASSERT_EQ(result.status, "ok") << result.reason;
  std::set<std::string> expected, found;
  for (const Score& score : result.scores)
    if (score.dictionary.empty() && score.method.find("neurons") != 0)
      expected.insert(score.method);
  EXPECT_GT(expected.size(), 5u);
  expected.insert("neurons_top4");
  const std::string headline = "latents_top4", less = headline + " - ";
  for (const Number& n : result.numbers) {
    if (n.metric != "auroc_difference" || n.method.find(less) != 0) continue;
    const std::string other = n.method.substr(less.size());
    found.insert(other);
    EXPECT_EQ(n.control, other);
    EXPECT_NEAR(n.value,
                find(result, "auroc", headline, "a", "ood")->value -
                    find(result, "auroc", other, "", "ood")->value,
                1e-12)
        << other;
  }
  EXPECT_EQ(found, expected);
}

TEST(OodProbing, WhatIsReadDependsOnThisTaskAlone) {
  std::map<std::string, std::string> reads[2];
  nlohmann::json numbers[2];
  for (const bool others : {false, true}) {
    test::SessionFixture fixture("ood_reads", {});
    auto& config = fixture.config.of<OodConfig>();
    config.top_k = {4, 8};
    config.classes = 2;
    config.train_per_class = config.test_positives = config.test_negatives = 12;
    fixture.add(test::random_dictionary(24, 60, 3, 5), "few");
    fixture.add(test::random_dictionary(24, 60, 12, 6), "many");
    const std::vector<std::string> all{"ood_probing", "spurious"}, alone{"ood_probing"};
    const TaskResult result = fixture.run(others ? all : alone)[0];
    ASSERT_EQ(result.status, "ok") << result.reason;
    for (const ArmEntry& arm : result.arms) reads[others][arm.name] = arm.reads;
    numbers[others] = result.details["numbers_read"];
  }
  EXPECT_EQ(reads[0], reads[1]);
  EXPECT_EQ(numbers[0], numbers[1]);
  const auto active = [&](int dictionary) {
    return std::to_string(
        static_cast<int64_t>(numbers[0][dictionary]["active_in_a_text"].get<double>()));
  };
  EXPECT_EQ(reads[0]["latents_all"], active(0) + " to " + active(1));
  EXPECT_EQ(reads[0]["latents_searched"], "4 to " + active(1));
}

TEST(OodProbing, PerClassIsTheMeanOverTheClassesOwnRuns) {
  test::SessionFixture fixture("ood_per_class", {});
  auto& config = fixture.config.of<OodConfig>();
  config.test_positives = config.test_negatives = 8;
  fixture.config.seeds = 2;
  fixture.add(test::random_dictionary(24, 60, 8, 5), "a");
  const TaskResult result = fixture.run({"ood_probing"})[0];
  ASSERT_EQ(result.status, "ok") << result.reason;
  int compared = 0;
  for (const Score& score : result.scores) {
    if (score.part != "ood") continue;
    int64_t unit = 0;  // classes stand in the order of their numbers
    for (const nlohmann::json& row : result.details["per_class"]) {
      if (row["method"] != score.method || row["dictionary"] != score.dictionary) continue;
      double sum = 0, count = 0;
      for (const Cell& cell : score.cells) {
        if (cell.unit != unit) continue;
        sum += cell.value;
        count += 1;
      }
      EXPECT_NEAR(row["ood"].get<double>(), sum / count, 1e-12) << score.method << " " << unit;
      ++unit, ++compared;
    }
  }
  EXPECT_GT(compared, 0);
}

/// An arm that looked at the test to choose would be at least as good there as all that it may
/// take, for every class.
TEST(OodProbing, WhatIsChosenIsChosenWithoutTheTest) {
  test::PlantedOptions options;
  options.random_labels = true;
  test::SessionFixture fixture("ood_chosen", options);
  auto& config = fixture.config.of<OodConfig>();
  config.test_positives = config.test_negatives = 8;
  fixture.config.seeds = 2;
  fixture.add(test::random_dictionary(24, 60, 8, 5), "a");
  const TaskResult result = fixture.run({"ood_probing"})[0];
  ASSERT_EQ(result.status, "ok") << result.reason;
  std::map<std::string, std::map<std::string, double>> id;  // of a method, by class
  for (const nlohmann::json& row : result.details["per_class"])
    id[row["method"]][row["class"]] = row["id"];
  const std::vector<std::string> baselines{"dense_lr", "diff_means",   "lda",         "pca_lr",
                                           "knn",      "neurons_top1", "neurons_top4"};
  std::vector<std::string> toolbox = baselines;
  for (const char* arm : {"latents_top1", "latents_top4", "latents_all"}) toolbox.push_back(arm);
  const std::map<std::string, std::vector<std::string>> from{
      {"quiver_dense", baselines},
      {"quiver_latents", toolbox},
      {"dense_lr_pooled", {"dense_lr", "dense_lr_max"}},
      {"neurons_top4_pooled", {"neurons_top4"}},
      {"latents_top4_pooled", {"latents_top4"}}};
  for (const auto& [chosen, arms] : from) {
    int worse = 0;
    for (const std::string& arm : arms)
      for (const auto& [name, value] : id.at(arm)) worse += id.at(chosen).at(name) < value;
    EXPECT_GT(worse, 0) << chosen;
  }
  for (const Number& n : result.numbers) {
    const bool chosen = from.count(n.method) || n.method == "latents_searched" ||
                        n.method == "activations_searched";
    if (n.metric != "auroc" || !chosen) continue;
    EXPECT_LE((*n.interval)[0], .5) << n.method << " " << n.part;
    EXPECT_GE((*n.interval)[1], .5) << n.method << " " << n.part;
  }
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

/// Folds are made of the texts that train, not of those that are left over.
TEST_F(ProbingPlanTest, TheTrainingPartItselfHasTwoDocuments) {
  OodConfig config = fixture_.config.of<OodConfig>();
  config.train_per_class = 12;
  const ProbingPlan before = plan_probing(*fixture_.dataset, table_, config, 1, 5);
  const ProbingCell& cell = before.cells[0];
  for (size_t i = 0; i < 12; ++i) {
    ASSERT_EQ(cell.train.labels[i], 1);
    table_.document[cell.train.texts[i]] = table_.document[cell.train.texts[0]];
  }
  const ProbingPlan after = plan_probing(*fixture_.dataset, table_, config, 1, 5);
  EXPECT_EQ(after.classes.size(), before.classes.size() - 1);
  for (const std::string& name : after.classes) EXPECT_NE(name, before.classes[cell.category]);
  config.train_per_class = 20;
  EXPECT_EQ(plan_probing(*fixture_.dataset, table_, config, 1, 5).classes.size(),
            before.classes.size())
      << "with eight more texts there are others";
}

TEST_F(ProbingPlanTest, OneClassAloneIsRefused) {
  OodConfig config = fixture_.config.of<OodConfig>();
  bool one = false;
  for (config.min_target = 5; config.min_target < 200; ++config.min_target) {
    try {
      EXPECT_GE(plan(config).classes.size(), 2u) << config.min_target;
    } catch (const Error& error) {
      one |= std::string(error.what()).find("1 of 4 classes") != std::string::npos;
    }
  }
  EXPECT_TRUE(one) << "or no class stood alone";
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
  try {
    plan(config);
    FAIL();
  } catch (const Error& error) {
    const std::string what = error.what();
    for (const char* lack : {"0 of 4 classes", "10 texts to train on", "two documents of the class",
                             "100000 of 'definition' and 100000 of 'example' to test on"})
      EXPECT_NE(what.find(lack), std::string::npos) << what;
  }
}

}  // namespace
}  // namespace assay::eval::probing
