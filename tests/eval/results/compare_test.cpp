// Comparisons on scores whose answers are known.
#include "eval/results/compare.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "kernels/base/error.h"
#include "kernels/base/random.h"

namespace assay::eval {
namespace {

using testing::HasSubstr;

constexpr int64_t kUnits = 12, kRuns = 4;

/// Values unit effect + offset + noise: pairing removes the unit effect.
std::vector<Cell> cells(double offset, uint64_t seed, double noise = 0.01) {
  Rng rng(seed);
  std::vector<Cell> out;
  for (int64_t unit = 0; unit < kUnits; ++unit)
    for (int64_t run = 0; run < kRuns; ++run)
      out.push_back(
          {unit, run, 0.5 + 0.03 * static_cast<double>(unit) + offset + noise * rng.normal()});
  return out;
}

struct Builder {
  Results results;

  Builder() {
    results.version = "0";
    results.dataset_hash = "data";
    results.seed = 5;
    TaskResult core, task;
    core.name = "core";
    task.name = "proxy";
    task.title = "Proxy";
    core.status = task.status = "ok";
    task.arms = {
        {"dense_lr", "logistic regression", "baseline", "activations", "logistic_regression"}};
    results.tasks = {core, task};
  }
  TaskResult& task() { return results.tasks[1]; }
  void score(const std::string& dictionary, const std::string& method, std::vector<Cell> values,
             bool headline = true) {
    task().scores.push_back(
        {"auroc", "ood", method, dictionary, headline, true, std::move(values)});
  }
  void add(const std::string& name, double offset, int64_t k, uint64_t seed, double l0,
           const std::string& null_kind = "", const std::string& parent = "") {
    DictionaryEntry entry;
    entry.name = entry.hash = name;
    entry.variant = "topk";
    entry.n = 64;
    entry.k = k;
    entry.seed = seed;
    entry.null_kind = null_kind;
    entry.parent = parent;
    if (null_kind.empty()) entry.setting = fmt::format("k {}", k);
    results.dictionaries.push_back(entry);
    Number l;
    l.metric = "l0";
    l.part = "validation";
    l.dictionary = name;
    l.value = l0;
    results.tasks[0].numbers.push_back(l);
    score(name, "latents_top4", cells(offset, std::hash<std::string>{}(name)));
  }
};

const Card& card(const ScoreTable& table, const std::string& name) {
  for (const Card& c : table.cards)
    if (c.dictionary == name) return c;
  throw Error("no card");
}

TEST(Compare, PairsBaselinesAndControls) {
  Builder b;
  b.add("good", 0.10, 32, 0, 32);
  b.add("good:random", -0.10, 32, 0, 32, "random", "good");
  b.add("weak", 0.00, 32, 1, 33);
  b.score("", "dense_lr", cells(0.05, 99), false);
  b.score("", "knn", cells(-0.05, 98), false);
  const Comparison c = compare(b.results);
  ASSERT_EQ(c.tables.size(), 1u);
  const ScoreTable& table = c.tables[0];
  EXPECT_EQ(table.units, kUnits);
  EXPECT_EQ(table.runs, kRuns);
  EXPECT_EQ(table.baseline->methods, "dense_lr");
  EXPECT_EQ(card(table, "good").verdict, Verdict::dictionary_leads);
  EXPECT_EQ(card(table, "weak").verdict, Verdict::baseline_wins);
  EXPECT_THAT(verdict_sentence(table, card(table, "weak")),
              HasSubstr("A simple baseline wins here: logistic regr"));
  EXPECT_EQ(verdict_sentence(table, card(table, "good:random")), "");
  b.task().arms[0].reads = "384";
  const ScoreTable costs = compare(b.results).tables[0];
  EXPECT_THAT(verdict_sentence(costs, card(costs, "weak")),
              HasSubstr("logistic regression (reads 384) 0."));
  b.task().arms[0].reads.clear();
  b.results.tasks[1].caveat = "nothing is a repair.";
  const ScoreTable warned = compare(b.results).tables[0];
  EXPECT_EQ(verdict_sentence(warned, card(warned, "weak")),
            verdict_sentence(table, card(table, "weak")) + " Caveat: nothing is a repair.");
  // The difference of means is exact; its interval is far narrower than the units' spread.
  const Paired& null = card(table, "good").minus_nulls.at(0);
  EXPECT_NEAR(null.difference.value,
              card(table, "good").value.value - card(table, "good:random").value.value, 1e-12);
  EXPECT_LT((*null.difference.interval)[1] - (*null.difference.interval)[0], 0.02);
  EXPECT_TRUE(null.matched);
  EXPECT_TRUE(card(table, "weak").minus_nulls.empty())
      << "a built control belongs to its parent alone";
  ASSERT_EQ(table.pairs.size(), 1u);
  EXPECT_NEAR(table.pairs[0].difference.value, 0.10, 0.01);
  EXPECT_FALSE(table.pairs[0].ranked);
}

TEST(Compare, NothingLeadsThatIsNoBetterThanChance) {
  for (const bool higher : {true, false}) {
    Builder b;
    const double sign = higher ? 1 : -1;
    b.add("mine", 0.10 * sign, 32, 0, 32);
    b.score("", "dense_lr", cells(0, 99), false);
    for (Score& score : b.task().scores) score.higher_is_better = higher;
    // Means are .5 + .03 · 5.5 = .665 and that ± .1.
    const auto table_with = [&](std::optional<double> chance) {
      b.task().metrics = {{"auroc", "AUROC", higher ? "higher" : "lower", chance}};
      return compare(b.results).tables[0];
    };
    for (const std::optional<double>& chance :
         {std::optional<double>(), std::optional(0.665 - 0.05 * sign)}) {
      const ScoreTable beaten = table_with(chance);
      EXPECT_EQ(beaten.chance, chance);
      EXPECT_EQ(card(beaten, "mine").verdict, Verdict::dictionary_leads);
      EXPECT_THAT(verdict_sentence(beaten, card(beaten, "mine")),
                  testing::Not(HasSubstr("chance")));
    }
    const ScoreTable guessed = table_with(0.665 + 0.12 * sign);
    EXPECT_EQ(card(guessed, "mine").verdict, Verdict::open);
    EXPECT_LT(card(guessed, "mine").beside->p_holm, 0.05) << "ahead of the baseline it is";
    EXPECT_THAT(verdict_sentence(guessed, card(guessed, "mine")),
                testing::AllOf(HasSubstr("Ahead of a simple baseline and no verdict: logistic"),
                               HasSubstr("The dictionary's arm is no better than chance (0.")));
  }
}

TEST(Compare, LowerIsBetterIsSignedForPeople) {
  Builder b;
  b.add("good", -0.10, 32, 0, 32);
  b.add("weak", 0.00, 32, 1, 32);
  for (Score& score : b.task().scores) score.higher_is_better = false;
  const ScoreTable table = compare(b.results).tables[0];
  EXPECT_GT(table.pairs[0].difference.value, 0.08);
  EXPECT_NEAR(card(table, "good").value.value, 0.5 + 0.03 * 5.5 - 0.10, 0.01)
      << "values stay as the metric has them";
  const Interval interval = *card(table, "good").value.interval;
  EXPECT_LT(interval[0], interval[1]);
  EXPECT_GT(table.settings[0].mean, 0);
}

TEST(Compare, TheBestArmIsChosenOnOtherUnits) {
  // Arm a is ahead on even places, b on odd ones, by the same amount: chosen on the other half, the
  // wrong one is taken.
  Builder b;
  b.add("d", 0, 32, 0, 32);
  b.task().scores.clear();
  std::vector<Cell> even, odd;
  for (const Cell& cell : cells(0, 1, 0)) {
    even.push_back({cell.unit, cell.run, cell.unit % 2 ? 0.4 : 0.6});
    odd.push_back({cell.unit, cell.run, cell.unit % 2 ? 0.6 : 0.4});
  }
  b.score("d", "a", even);
  b.score("d", "b", odd, false);
  const Card& c = card(compare(b.results).tables[0], "d");
  EXPECT_DOUBLE_EQ(c.value.value, 0.5);
  EXPECT_NEAR(c.chosen->value.value, 0.4, 1e-12)
      << "a choice on the scored units would have said 0.6";
  EXPECT_EQ(c.chosen->methods, "b / a");
}

TEST(Compare, SettingsAreRankedOnlyAboveEverySpread) {
  const auto settings = [](double ahead, double l0, int64_t seeds, bool controls, double reseed) {
    Builder b;
    Rng rng(3);
    for (int64_t s = 0; s < seeds; ++s)
      for (const auto& [k, offset] : {std::pair<int64_t, double>(32, ahead), {33, 0.0}}) {
        const std::string name = std::to_string(k) + "-" + std::to_string(s);
        b.add(name, offset + reseed * rng.normal(), k, static_cast<uint64_t>(s), k == 32 ? l0 : 32);
        if (controls) b.add(name + ":random", -0.3, k, 0, 32, "random", name);
      }
    return compare(b.results).tables[0];
  };
  const ScoreTable clear = settings(0.10, 32, 3, true, 0.005);
  ASSERT_EQ(clear.setting_pairs.size(), 1u);
  EXPECT_TRUE(clear.setting_pairs[0].ranked) << clear.setting_pairs[0].reason;
  EXPECT_EQ(clear.settings[0].members.size(), 3u);
  EXPECT_EQ(clear.reliability.reseed_df, 4);
  EXPECT_TRUE(clear.reliability.separates_null);
  EXPECT_THAT(settings(0.10, 32, 2, true, 0.005).setting_pairs[0].reason,
              HasSubstr("2 training seeds; 3 are needed"));
  EXPECT_THAT(settings(0.10, 40, 3, true, 0.005).setting_pairs[0].reason, HasSubstr("factor 1.25"));
  EXPECT_THAT(settings(0.10, 32, 3, false, 0.005).setting_pairs[0].reason, HasSubstr("no control"));
  EXPECT_FALSE(settings(0.0, 32, 3, true, 0.005).setting_pairs[0].ranked);
  const ScoreTable noisy = settings(0.03, 32, 3, true, 0.06);
  EXPECT_FALSE(noisy.setting_pairs[0].ranked);
  EXPECT_THAT(noisy.setting_pairs[0].reason,
              testing::AnyOf(HasSubstr("reseed spread"), HasSubstr("not told apart")));
}

Reliability measured(int64_t runs) {
  Builder b;
  for (const auto& [name, offset] : {std::pair("a", 0.0), {"b", 0.1}, {"c", 0.2}})
    b.add(name, 0, 32, static_cast<uint64_t>(offset * 10), 32);
  b.task().scores.clear();
  for (const auto& [name, offset] : {std::pair("a", 0.0), {"b", 0.1}, {"c", 0.2}}) {
    std::vector<Cell> values;
    for (int64_t unit = 0; unit < 9; ++unit)
      for (int64_t run = 0; run < runs; ++run)
        values.push_back({unit, run, offset + 0.04 * static_cast<double>(run)});
    b.score(name, "m", values);
  }
  return compare(b.results).tables[0].reliability;
}

TEST(Compare, ReliabilityIsTheClosedForm) {
  const Reliability r = measured(3);
  EXPECT_NEAR(*r.reseed_sd, 0.1, 1e-12);
  EXPECT_EQ(r.reseed_df, 2);
  // scipy.stats.nct.sf(t(.975, 2), 2, 5.653489) = .8
  EXPECT_NEAR(*r.detectable, 5.653489 * 0.1 * std::sqrt(2.0 / 3), 1e-6);
  EXPECT_NEAR(*r.rerun_sd, 0.04, 1e-12);
  EXPECT_NEAR(*r.rerun_detectable, 5.653489 * 0.04 * std::sqrt(2.0 / 3), 1e-6)
      << "the three dictionaries met the same cuts: 2 degrees of freedom, not 6";
  EXPECT_FALSE(r.null_gap);
  EXPECT_FALSE(r.separates_null);
  EXPECT_FALSE(measured(2).rerun_sd) << "two runs do not tell how runs vary";
}

TEST(Compare, SeedsNeededAreTheFirstThatExceedTheSpread) {
  // Two settings of two seeds: sd .1 in both, means .06 apart.
  Builder b;
  for (const auto& [name, k, seed] :
       {std::tuple("a0", 32, 0), {"a1", 32, 1}, {"b0", 33, 0}, {"b1", 33, 1}})
    b.add(name, 0, k, static_cast<uint64_t>(seed), 32);
  b.task().scores.clear();
  const double half = 0.1 / std::sqrt(2.0);
  for (const auto& [name, offset] :
       {std::pair("a0", -half), {"a1", half}, {"b0", .06 - half}, {"b1", .06 + half}})
    b.score(name, "m", {{0, 0, offset}, {1, 0, offset}});
  const RankedPair pair = compare(b.results).tables[0].setting_pairs.at(0);
  // (t(.975, df) + t(.8, df))·.1·√(2/seeds) is .0604 with 44 seeds each, df 86, and .0597 with 45.
  EXPECT_EQ(*pair.seeds_needed, 45);
}

TEST(Compare, ThePanelSaysWhatEachMetricMayBeUsedFor) {
  Builder b;
  b.add("good", 0.10, 32, 0, 32);
  EXPECT_THAT(compare(b.results).panel.at(0).use, HasSubstr("no control"));
  EXPECT_FALSE(compare(b.results).panel[0].passed);
  b.add("good:random", -0.10, 32, 0, 32, "random", "good");
  b.task().checks = {{"label null", true, ""}, {"oracle", true, ""}};
  const MetricState passed = compare(b.results).panel.at(0);
  EXPECT_TRUE(passed.passed);
  EXPECT_EQ(passed.checks_passed, 2);
  EXPECT_THAT(passed.use, HasSubstr("from 3 training seeds on"));
  EXPECT_EQ(comparison_task(compare(b.results)).details["panel"][0]["passed"], true);
  b.task().checks[1].passed = false;
  b.task().status = "withheld";
  b.task().reason = "check 'oracle' failed";
  const Comparison withheld = compare(b.results);
  EXPECT_TRUE(withheld.tables.empty());
  EXPECT_FALSE(withheld.panel.at(0).passed);
  EXPECT_EQ(withheld.panel[0].use, "nothing: check 'oracle' failed");
  EXPECT_EQ(withheld.panel[0].checks_passed, 1);
  b.task().status = "ok";
  b.add("weak", -0.30, 32, 1, 32);
  b.add("weak:random", -0.10, 32, 0, 32, "random", "weak");
  EXPECT_THAT(compare(b.results).panel.at(0).use,
              HasSubstr("does not tell every dictionary from its control"));
}

TEST(Compare, TheCardKnowsTheCorrelationWithTheTruth) {
  Builder b;
  b.add("a", 0, 32, 0, 32);
  EXPECT_FALSE(compare(b.results).tables[0].reliability.truth) << "task 'proxy' was never measured";
  b.task().name = "ood_probing";
  const Comparison comparison = compare(b.results);
  ASSERT_TRUE(comparison.tables[0].reliability.truth);
  const nlohmann::json row = comparison_task(comparison).details["reliability"][0];
  EXPECT_EQ(row["correlation_with_truth"], comparison.tables[0].reliability.truth->correlation);
  EXPECT_LT(row["correlation_low"], row["correlation_high"]);
  EXPECT_THAT(comparison.panel.at(0).use, testing::Not(HasSubstr("truth")));
  b.add("a:random", -0.3, 32, 0, 32, "random", "a");
  EXPECT_TRUE(compare(b.results).panel.at(0).passed);
  b.task().name = "targeted_removal";
  for (Score& score : b.task().scores) {
    score.metric = "scr";
    score.part = "n 20";
  }
  const MetricState contradicted = compare(b.results).panel.at(0);
  EXPECT_THAT(contradicted.use, HasSubstr("does not follow the truth"));
  EXPECT_FALSE(contradicted.passed);
}

TEST(Compare, WithheldTasksAndBrokenScores) {
  Builder b;
  b.add("a", 0, 32, 0, 32);
  b.task().status = "withheld";
  EXPECT_TRUE(compare(b.results).tables.empty());
  b.task().status = "ok";
  b.score("", "dense_lr", {{0, 0, 0.5}}, false);
  EXPECT_THROW(compare(b.results), Error);
  b.task().scores.pop_back();
  b.score("a", "other", cells(0, 4), true);
  EXPECT_THROW(compare(b.results), Error);
}

TEST(Compare, FewUnitsDescribe) {
  Builder b;
  b.add("good", 0.10, 32, 0, 32);
  b.add("good:random", -0.10, 32, 0, 32, "random", "good");
  b.score("", "dense_lr", cells(0.0, 99), false);
  EXPECT_EQ(card(compare(b.results).tables[0], "good").verdict, Verdict::dictionary_leads);
  for (Score& score : b.task().scores)
    std::erase_if(score.cells, [](const Cell& cell) { return cell.unit >= kUnitsToTell - 1; });
  const Comparison few = compare(b.results);
  EXPECT_EQ(card(few.tables[0], "good").verdict, Verdict::describes);
  EXPECT_THAT(verdict_sentence(few.tables[0], card(few.tables[0], "good")),
              HasSubstr("Describes, for 7 units"));
  EXPECT_FALSE(few.panel[0].passed);
  EXPECT_THAT(few.panel[0].use, HasSubstr("it takes 8"));
}

TEST(Compare, AllVerdictsAreOneFamily) {
  Builder b;
  b.add("d", 0.0, 32, 0, 32);
  b.score("", "dense_lr", cells(0.004, 7, 0.01), false);
  const double alone = card(compare(b.results).tables[0], "d").beside->p_holm.value();
  const double p = card(compare(b.results).tables[0], "d").beside->difference.p;
  EXPECT_EQ(alone, p);
  TaskResult other = b.task();
  for (int i = 0; i < 3; ++i) {
    other.name = fmt::format("proxy {}", i);
    b.results.tasks.push_back(other);
  }
  for (const ScoreTable& table : compare(b.results).tables)
    EXPECT_NEAR(card(table, "d").beside->p_holm.value(), std::min(1.0, 4 * p), 1e-12);
}

TEST(Compare, AnotherConfigurationIsNoReseed) {
  Builder b;
  b.add("a", 0, 32, 0, 32);
  b.add("b", 0, 32, 1, 32);
  b.add("other rate", 0, 32, 2, 32);
  b.results.dictionaries[2].setting = "k 32 at another rate";
  b.add("unknown", 0, 32, 3, 32);
  b.results.dictionaries[3].setting = "";
  b.add("again", 0, 32, 1, 32);
  const std::vector<Setting> settings = compare(b.results).tables[0].settings;
  ASSERT_EQ(settings.size(), 4u);
  EXPECT_EQ(settings[0].members, (std::vector<std::string>{"a", "b"}));
  EXPECT_EQ(settings[1].members, (std::vector<std::string>{"other rate"}));
  EXPECT_NE(settings[0].name, settings[1].name);
  EXPECT_EQ(settings[2].name, "unknown");
  EXPECT_EQ(settings[3].name, "again") << "a seed that is there already is no other seed";
}

/// Arms are found by name and cells by key: the order in the file is nobody's business.
TEST(Compare, TheOrderOfScoresAndCellsChangesNothing) {
  Builder b;
  b.add("a", 0, 32, 0, 32);
  b.add("b", 0.01, 32, 1, 32);
  b.score("", "dense_lr", cells(0.05, 99), false);
  const nlohmann::json details = comparison_task(compare(b.results)).details;
  std::vector<Score>& scores = b.results.tasks[0].scores;
  std::reverse(scores.begin(), scores.end());
  for (Score& score : scores) std::reverse(score.cells.begin(), score.cells.end());
  EXPECT_EQ(comparison_task(compare(b.results)).details, details);
}

TEST(MergeResults, DictionariesEvaluatedApartBecomeOne) {
  Builder a, b;
  a.add("d", 0, 32, 0, 32);
  a.add("d:random", -0.1, 32, 0, 32, "random", "d");
  b.add("d", 0.1, 32, 1, 32);
  b.results.dictionaries[0].hash = "other weights";
  b.add("d:random", -0.1, 32, 0, 32, "random", "d");
  b.results.dictionaries[1].hash = "other control";
  for (Builder* each : {&a, &b}) each->score("", "dense_lr", cells(0.05, 99), false);
  std::string why;
  const auto merged = merge_results({&a.results, &b.results}, why);
  ASSERT_TRUE(merged) << why;
  ASSERT_EQ(merged->dictionaries.size(), 4u);
  EXPECT_EQ(merged->dictionaries[2].name, "d (2)");
  EXPECT_EQ(merged->dictionaries[3].parent, "d (2)");
  const ScoreTable table = compare(*merged).tables[0];
  EXPECT_EQ(table.pairs.size(), 1u);
  EXPECT_EQ(card(table, "d (2)").minus_nulls.at(0).b, "d:random (2)");
  EXPECT_EQ(merge_results({&a.results, &a.results}, why)->dictionaries.size(), 2u)
      << "the same weights count once";
  b.results.seed = 6;
  EXPECT_FALSE(merge_results({&a.results, &b.results}, why));
  EXPECT_EQ(why, "evaluation seeds 5 and 6");
  b.results.seed = 5;
  b.results.tasks.push_back(b.results.tasks.back());
  b.results.tasks.back().name = "another";
  EXPECT_FALSE(merge_results({&a.results, &b.results}, why)) << "a task more, without settings";
  EXPECT_EQ(why, "different tasks or settings");
}

}  // namespace
}  // namespace assay::eval
