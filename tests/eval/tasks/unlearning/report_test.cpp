// What the unlearning task publishes of its runs.
#include <gtest/gtest.h>

#include <map>
#include <string>
#include <utility>

#include "eval/tasks/unlearning/run.h"
#include "kernels/base/error.h"
#include "tests/eval/tasks/unlearning/unlearning_session.h"

namespace assay::eval::unlearning {
namespace {

const Check& check(const TaskResult& result, const std::string& name) {
  for (const Check& own : result.checks)
    if (own.name == name) return own;
  throw Error("no check " + name);
}

TEST_F(UnlearningTest, ArmsAreComparedAtTheBudgetOnTestTexts) {
  const RunOutcome run = run_unlearning(inputs(), plan(), 5);
  const TaskResult result = report(run);
  int reached = 0;
  for (const MethodOutcome& own : run.methods) {
    const std::string dictionary =
        own.dictionary ? fixture_.dictionaries[*own.dictionary].entry.name : "";
    const double damage = test::find(result, "retain_damage", own.name, dictionary, "test")->value;
    reached += own.points[0].reached;
    if (own.points[0].reached) {
      EXPECT_NEAR(damage, 1, 1e-9) << own.name;
    } else {
      EXPECT_LE(damage, 1) << own.name;
    }
  }
  EXPECT_GT(reached, 0) << "or the test shows nothing";
  const auto& points = result.details.at("operating_points");
  EXPECT_EQ(points.size(), run.methods.size() * 3) << "three budgets";
}

TEST_F(UnlearningTest, EveryCheckFailsWhereItMust) {
  const RunOutcome good = run_unlearning(inputs(), plan(), 5);
  for (const Check& own : report(good).checks) EXPECT_TRUE(own.passed) << own.name;
  RunOutcome leak = good;  // probes that read permuted labels' texts nonetheless
  for (size_t c = 0; c < leak.permuted.size(); ++c) {
    const double by_class = 0.01 * static_cast<double>(c);
    leak.permuted[c].few_shot = {0.8 + by_class, 0.2 - by_class};
    leak.permuted[c].retrained = 0.7 + by_class;
  }
  for (const char* part : {"few_shot_4", "few_shot_8", "all_labels"})
    EXPECT_FALSE(check(report(leak), std::string("label null: ") + part).passed) << part;
  EXPECT_TRUE(check(report(leak), "the oracle is on top").passed);
  RunOutcome blind = good;  // an oracle that exchanges nothing
  for (size_t c = 0; c < blind.oracle.size(); ++c) blind.oracle[c].scores = blind.clean[c];
  EXPECT_FALSE(check(report(blind), "the oracle is on top").passed);
  EXPECT_TRUE(check(report(blind), "label null: few_shot_8").passed);
  RunOutcome better = good;  // an arm that knows more than the oracle may
  for (auto& [setting, by_class] : better.methods[0].outcome)
    for (size_t c = 0; c < by_class.size(); ++c) by_class[c].scores.few_shot[1] = 0.5;
  for (ClassOutcome& own : better.oracle) own.scores.few_shot[1] = 0.6;
  EXPECT_FALSE(check(report(better), "the oracle is on top").passed);
}

TEST_F(UnlearningTest, UntouchedReadingsAreOfEveryClass) {
  const RunOutcome run = run_unlearning(inputs(), plan(), 5);
  const TaskResult result = report(run);
  const auto mean_of = [](const std::vector<PanelScores>& classes, size_t labels) {
    double sum = 0;
    for (const PanelScores& own : classes) sum += labels < 2 ? own.few_shot[labels] : own.retrained;
    return sum / static_cast<double>(classes.size());
  };
  const char* const parts[] = {"few_shot_4", "few_shot_8", "all_labels"};
  for (size_t part = 0; part < 3; ++part) {
    EXPECT_NEAR(test::find(result, "probe_auroc", "untouched", "", parts[part])->value,
                mean_of(run.clean, part), 1e-12);
    EXPECT_NEAR(test::find(result, "auroc_permuted_labels", "untouched", "", parts[part])->value,
                mean_of(run.permuted, part), 1e-12);
  }
}

TEST_F(UnlearningTest, DifferencesAreBetweenArmsOfOneDictionary) {
  const TaskResult result = report(run_unlearning(inputs(), plan(), 5));
  const auto drop = [&](const std::string& arm, const std::string& dictionary) {
    return test::find(result, "forget_drop", arm, dictionary, "few_shot_8")->value;
  };
  const std::pair<const char*, const char*> pairs[] = {{"latents", "random_latents"},
                                                       {"latents_gated", "latents"},
                                                       {"latents_lda_gated", "latents"},
                                                       {"latents_gated", "gated_steering"},
                                                       {"latents_lda_gated", "gated_steering"}};
  std::map<std::string, double> expected;
  for (const std::string dictionary : {"oracle", "oracle:random"})
    for (const auto& [a, b] : pairs) {
      const std::string other = b;
      if (other == "random_latents" && dictionary == "oracle:random") continue;
      expected[dictionary + ": " + a + " - " + b] =
          drop(a, dictionary) - drop(b, other == "gated_steering" ? "" : dictionary);
    }
  const auto& rows = result.details.at("differences");
  EXPECT_EQ(rows.size(), expected.size()) << "random latents stand in for trained ones alone";
  for (const auto& row : rows) {
    const std::string name =
        row.at("dictionary").get<std::string>() + ": " + row.at("difference").get<std::string>();
    ASSERT_EQ(expected.count(name), 1u) << name;
    EXPECT_NEAR(row.at("value").get<double>(), expected.at(name), 1e-12) << name;
  }
}

TEST_F(UnlearningTest, AnEdgeOfTheGridIsNamed) {
  RunOutcome run = run_unlearning(inputs(), plan(), 5);
  for (MethodOutcome& own : run.methods) own.points[0].edge = false;
  EXPECT_EQ(report(run).caveat, "");
  for (MethodOutcome& own : run.methods)
    if (own.name == "leace") {
      own.points[0] = {.weaker = 0, .stronger = 1, .share = 0.5, .reached = true, .edge = true};
      own.outcome[0] = own.outcome[1] = own.outcome.at(std::nullopt);
      for (size_t c = 0; c < run.clean.size(); ++c)
        own.outcome[1][c].scores.retain_accuracy -= 0.02;
    }
  const TaskResult result = report(run);
  EXPECT_NE(result.caveat.find("leace (strength=0.5)"), std::string::npos) << result.caveat;
  for (const auto& row : result.details.at("operating_points"))
    if (row.at("method") == "leace" && row.at("budget") == 1) {
      EXPECT_TRUE(row.at("on_grid_edge").get<bool>());
    }
}

}  // namespace
}  // namespace assay::eval::unlearning
