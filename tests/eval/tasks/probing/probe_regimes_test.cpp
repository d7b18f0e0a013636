#include "eval/tasks/probing/probe_regimes.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdio>
#include <set>

#include "eval/tasks/probing/arms.h"
#include "kernels/base/error.h"
#include "tests/eval/eval_session.h"

namespace assay::eval::probing {
namespace {

using test::find;
using testing::HasSubstr;

ProbingCell cell_of(int64_t positives, int64_t negatives) {
  ProbingCell cell;
  for (int64_t i = 0; i < positives + negatives; ++i) {
    cell.train.texts.push_back(100 + i);
    cell.train.labels.push_back(i < positives);
  }
  cell.id.texts = {1, 2};
  cell.id.labels = {1, 0};
  cell.ood = cell.id;
  return cell;
}

int64_t ones(const LabelledTexts& part) {
  return std::count(part.labels.begin(), part.labels.end(), 1);
}

TEST(Damage, CountsAreWhatTheRegimeSays) {
  const ProbingCell cell = cell_of(40, 40);
  const ProbingCell few = damage(cell, {"scarcity", 4}, 1),
                    more = damage(cell, {"scarcity", 16}, 2);
  EXPECT_EQ(few.train.texts.size(), 8u);
  EXPECT_EQ(ones(few.train), 4);
  const std::set<int64_t> larger(more.train.texts.begin(), more.train.texts.end());
  for (const int64_t text : few.train.texts)
    EXPECT_TRUE(larger.count(text)) << "a smaller level is a part of a larger";
  EXPECT_EQ(damage(cell, {"scarcity", 1000}, 1).train.texts.size(), 80u);
  const ProbingCell rare = damage(cell, {"imbalance", 20}, 1);
  EXPECT_EQ(rare.train.texts.size(), 40u);
  EXPECT_EQ(ones(rare.train), 8);
  EXPECT_EQ(ones(damage(cell_of(12, 12), {"imbalance", 5}, 1).train), 2) << "never fewer than two";
  const ProbingCell noisy = damage(cell, {"noise", 20}, 1);
  int64_t changed[2] = {};
  for (size_t i = 0; i < noisy.train.labels.size(); ++i)
    changed[cell.train.labels[i]] += noisy.train.labels[i] != cell.train.labels[i];
  EXPECT_EQ(changed[0], 8);
  EXPECT_EQ(changed[1], 8);
  EXPECT_EQ(noisy.train.texts, cell.train.texts);
  for (const ProbingCell* damaged : {&few, &rare, &noisy}) {
    EXPECT_EQ(damaged->id.labels, cell.id.labels);
    EXPECT_EQ(damaged->ood.texts, cell.ood.texts);
  }
}

TEST(InnerCell, HoldsOutAFifthOfEachClassAndNoTest) {
  const ProbingCell cell = cell_of(40, 60), inner = inner_cells(cell, cell.train.texts, 3)[0];
  EXPECT_EQ(ones(inner.id), 8);
  EXPECT_EQ(inner.id.texts.size(), 20u);
  EXPECT_EQ(inner.train.texts.size(), 80u);
  std::set<int64_t> all(inner.train.texts.begin(), inner.train.texts.end());
  all.insert(inner.id.texts.begin(), inner.id.texts.end());
  EXPECT_EQ(all, std::set<int64_t>(cell.train.texts.begin(), cell.train.texts.end()));
}

TEST(ChooseArm, ByTheInnerScoreNeverByTheTest) {
  const std::vector<ArmScore> inner{{"a", .7, 0}, {"b", .9, 0}, {"c", .9, 0}},
      outer{{"a", .99, .99}, {"b", .6, .5}, {"c", .8, .8}};
  const ArmScore chosen = choose_arm("quiver", inner, outer);
  EXPECT_EQ(chosen.method, "quiver");
  EXPECT_EQ(chosen.ood, .5) << "a leak of the test would take a; the tie goes to the earlier";
  EXPECT_THROW(choose_arm("quiver", {{"z", 1, 1}}, outer), Error);
}

TEST(ProbeRegimes, AnOracleKeepsItsScoreAndLevelsCount) {
  test::SessionFixture fixture("regimes", {});
  fixture.config.of<RegimesConfig>() = {{4, 16}, {20}, {40}};
  sae::Dictionary oracle = test::identity_dictionary(24, 4);
  std::fill(oracle.b_enc.begin(), oracle.b_enc.end(), -2.5f);
  fixture.add(oracle, "oracle");
  add_nulls(fixture.dictionaries, {"random"}, *fixture.dataset, 3);
  const auto results = fixture.run({"probe_regimes"});
  ASSERT_EQ(results[0].status, "ok") << results[0].reason;
  const auto value = [&](const char* method, const char* dictionary, const char* part) {
    const Number* n = find(results[0], "auroc", method, dictionary, part);
    return n ? n->value : -1;
  };
  EXPECT_GT(value("latents_top1", "oracle", "ood, 16 a class"), 0.95);
  EXPECT_GT(value("dense_lr", "", "ood, 16 a class"), value("dense_lr", "", "ood, 4 a class"));
  EXPECT_GT(value("diff_means", "", "ood, 40 % flipped"), 0.6);
  EXPECT_GT(value("latents_top1", "oracle", "ood, 20 % positive"),
            value("latents_top1", "oracle:random", "ood, 20 % positive"));
  // Levels are no runs: a family's cell is the mean over its levels.
  const auto cells = [&](const char* family) {
    for (const Score& score : results[0].scores) {
      if (score.dictionary != "oracle" || score.method != "latents_top4" || score.part != family)
        continue;
      EXPECT_TRUE(score.headline);
      return score.cells;
    }
    return std::vector<Cell>();
  };
  const std::vector<Cell> scarcity = cells("scarcity"), noise = cells("noise");
  EXPECT_GT(noise.size(), 0u);
  EXPECT_EQ(scarcity.size(), noise.size());
  const double levels = (value("latents_top4", "oracle", "ood, 4 a class") +
                         value("latents_top4", "oracle", "ood, 16 a class")) /
                        2;
  EXPECT_NEAR(mean_of_cells(scarcity).value, levels, 1e-12);
}

TEST(ProbeRegimes, LabelNullsOfAllFamiliesAreOneFamilyOfTests) {
  test::SessionFixture fixture("regimes_nulls", {});
  fixture.config.of<RegimesConfig>() = {{16}, {20}, {40}};
  fixture.add(test::random_dictionary(24, 60, 8, 5), "a");
  const TaskResult result = fixture.run({"probe_regimes"})[0];
  ASSERT_EQ(result.checks.size(), 6u) << "three regimes, two parts";
  std::vector<double> p, adjusted;
  for (const Check& check : result.checks) {
    EXPECT_THAT(check.name, HasSubstr("label null: dense_lr "));
    double own = 0, by_holm = 0;
    const size_t at = check.detail.find("p of chance ");
    ASSERT_EQ(std::sscanf(check.detail.c_str() + at, "p of chance %lf (Holm %lf)", &own, &by_holm),
              2)
        << check.detail;
    p.push_back(own);
    adjusted.push_back(by_holm);
  }
  const std::vector<double> expected = holm(p);
  for (size_t i = 0; i < p.size(); ++i) EXPECT_NEAR(adjusted[i], expected[i], .006) << i;
  EXPECT_EQ(result.checks[2].name, "label null: dense_lr id, train, 20 % positive");
}

TEST(ProbeRegimes, NoLevelsIsAnErrorOfThisTaskAlone) {
  test::SessionFixture fixture("regimes_empty", {});
  fixture.config.of<RegimesConfig>() = {{}, {}, {}};
  fixture.add(test::random_dictionary(24, 60, 8, 5), "a");
  const auto results = fixture.run({"core", "probe_regimes"});
  EXPECT_EQ(results[0].status, "ok");
  EXPECT_EQ(results[1].status, "failed");
  EXPECT_THAT(results[1].reason, HasSubstr("scarcity"));
}

TEST(ProbeThemes, LearnsOnOneKindOfWordAndIsTestedOnTheOther) {
  test::PlantedOptions options;
  options.documents = 800;
  options.verbs = true;
  test::SessionFixture fixture("themes", options);
  fixture.config.of<OodConfig>().min_target = 2;
  fixture.config.of<ThemesConfig>().pairs = {"class0=class0", "class1=class1", "class2=class2"};
  fixture.add(test::random_dictionary(24, 60, 8, 5), "a");
  const TextTable table = text_table(*fixture.dataset);
  const ProbingPlan plan = plan_themes(*fixture.dataset, table, fixture.config.of<OodConfig>(),
                                       fixture.config.of<ThemesConfig>(), 1, 5);
  const auto pos = text_labels(*fixture.dataset, table, "part_of_speech");
  const auto format = text_labels(*fixture.dataset, table, "format");
  EXPECT_EQ(plan.classes.size(), 3u);
  for (const ProbingCell& cell : plan.cells) {
    for (const int64_t t : cell.train.texts) EXPECT_EQ(pos[t], 0);
    for (const int64_t t : cell.ood.texts) {
      EXPECT_EQ(pos[t], 1);
      EXPECT_EQ(format[t], 0) << "both sides are source texts";
    }
  }
  const auto results = fixture.run({"probe_themes"});
  ASSERT_EQ(results[0].status, "ok") << results[0].reason;
  EXPECT_GT(find(results[0], "auroc", "dense_lr", "", "ood")->value, 0.9);
  EXPECT_NE(find(results[0], "auroc_difference", "quiver_latents - quiver_dense", "a", "ood"),
            nullptr);
}

TEST(ProbeThemes, FaultsAreNamed) {
  test::PlantedOptions options;
  options.verbs = true;
  test::SessionFixture fixture("themes_faults", options);
  const TextTable table = text_table(*fixture.dataset);
  const auto fault = [&](std::vector<std::string> pairs) -> std::string {
    try {
      plan_themes(*fixture.dataset, table, fixture.config.of<OodConfig>(),
                  {"noun", "verb", std::move(pairs)}, 1, 5);
    } catch (const Error& error) {
      return error.what();
    }
    return "";
  };
  EXPECT_THAT(fault({"class0"}), HasSubstr("'class0' is not SOURCE=TARGET"));
  EXPECT_THAT(fault({"class0=class9"}), HasSubstr("no class 'class9'"));
  fixture.config.of<OodConfig>().min_target = 100000;
  EXPECT_THAT(fault({"class0=class0", "class1=class1"}),
              HasSubstr("0 of 2 themes have enough texts"));
}

}  // namespace
}  // namespace assay::eval::probing
