// What a plan says it will tell, against the comparison of an evaluation like it.
#include "eval/results/plan.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "eval/results/compare.h"
#include "kernels/base/random.h"

namespace assay::eval {
namespace {

using testing::HasSubstr;

/// One dictionary and one baseline; `units` × `runs` cells of each.
Results evaluated(int64_t units, int64_t runs) {
  Results results;
  results.dictionaries.emplace_back().name = "d";
  TaskResult& task = results.tasks.emplace_back();
  task.name = "toy";
  task.status = "ok";
  Rng rng(3);
  for (const char* dictionary : {"", "d"}) {
    Score score;
    score.metric = "auroc";
    score.dictionary = dictionary;
    score.method = dictionary[0] == '\0' ? "dense" : "latents";
    score.headline = dictionary[0] != '\0';
    for (int64_t u = 0; u < units; ++u) {
      const double unit = .1 * rng.normal();
      for (int64_t r = 0; r < runs; ++r) score.cells.push_back({u, r, unit + .05 * rng.normal()});
    }
    task.scores.push_back(score);
  }
  return results;
}

PlannedTable planned(int64_t units, int64_t runs) {
  return {"auroc", "", "classes", units, runs, "toy"};
}

/// The variances come from the very table, so what is planned is what the comparison then says.
TEST(Plan, SaysOfATableWhatItsOwnComparisonSays) {
  for (const auto& [units, runs] : {std::pair<int64_t, int64_t>{14, 2}, {9, 1}}) {
    const Comparison comparison = compare(evaluated(units, runs));
    const std::vector<Power> powers = power_of({planned(units, runs)}, spreads_of(comparison), 1);
    ASSERT_TRUE(powers[0].detectable);
    EXPECT_NEAR(*powers[0].detectable, *comparison.tables[0].cards[0].detectable, 1e-9);
  }
}

TEST(Plan, AllVerdictsAreOneFamily) {
  const std::vector<TableSpread> spreads{{"toy", "auroc", "", {.01, 0, .01}}};
  const auto detectable = [&](int64_t tables, int64_t dictionaries) {
    const std::vector<PlannedTable> all(static_cast<size_t>(tables), planned(12, 4));
    return *power_of(all, spreads, dictionaries)[0].detectable;
  };
  EXPECT_LT(detectable(1, 1), detectable(2, 1));
  EXPECT_EQ(detectable(4, 1), detectable(2, 2));
  EXPECT_EQ(detectable(1, 0), detectable(1, 1)) << "controls alone have no verdict";
  const std::vector<Power> beside = power_of({planned(12, 4), planned(6, 4)}, spreads, 1);
  EXPECT_EQ(beside[0].detectable, detectable(1, 1)) << "a table that describes is in no family";
}

TEST(Plan, TooFewUnitsTellNothingButSayWhatWould) {
  const std::vector<TableSpread> spreads{{"toy", "auroc", "", {.01, 0, .01}}};
  const Power power = power_of({planned(6, 4)}, spreads, 1)[0];
  EXPECT_FALSE(power.detectable);
  EXPECT_GT(power.units_for_05, 6);
  EXPECT_GT(power.units_for_02, power.units_for_05);
  EXPECT_THAT(power_text(power), HasSubstr("6 classes × 4 runs describe, for it takes 8 to tell; "
                                           "0.05 takes "));
}

TEST(Plan, SaysWhatItDoesNotKnow) {
  const Power power = power_of({planned(40, 1)}, {{"toy", "auroc", "other", {}}}, 1)[0];
  EXPECT_FALSE(power.measured);
  EXPECT_EQ(power_text(power),
            "40 classes × 1 run tell what is not known: how much they vary was never measured");
  const nlohmann::json row = to_json({power})[0];
  EXPECT_EQ(row["units"], 40);
  EXPECT_TRUE(row["detectable"].is_null());
  EXPECT_TRUE(row["units_for_05"].is_null());
}

TEST(Plan, EveryPublishedSpreadIsOfATableOfItsOwn) {
  const std::vector<TableSpread>& all = published_spreads();
  for (size_t i = 0; i < all.size(); ++i) {
    EXPECT_GT(all[i].spread.units + all[i].spread.cells, 0) << all[i].task;
    for (size_t j = 0; j < i; ++j)
      EXPECT_FALSE(all[i].task == all[j].task && all[i].metric == all[j].metric &&
                   all[i].part == all[j].part)
          << all[i].task;
  }
}

}  // namespace
}  // namespace assay::eval
