// What the unlearning task publishes of its runs.
#include <gtest/gtest.h>

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
