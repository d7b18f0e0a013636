// Which strength a fix is compared at, and when a grid goes on.
#include <gtest/gtest.h>

#include "eval/tasks/spurious/scoring.h"
#include "tests/eval/eval_session.h"

namespace assay::eval::spurious {
namespace {

/// These scores of each of four classes.
FixTable table_of(const std::vector<SpuriousScore>& scores, std::optional<size_t> dictionary = {}) {
  FixTable table;
  for (int64_t c = 0; c < 4; ++c) {
    SpuriousCell cell;
    cell.category = c;
    for (const SpuriousScore& score : scores) table.add(cell, dictionary, 0, false, score);
  }
  return table;
}

const std::vector<int8_t> kFold{0, 1, 0, 1};

TEST(SpuriousChoice, StrengthsAreChosenWithoutTheClassesTheyAreScoredOn) {
  // Each half of the classes does best with its own strength: a leak would score 1, the honest
  // choice scores 0.
  FixTable table;
  for (int64_t c = 0; c < 4; ++c) {
    SpuriousCell cell;
    cell.category = c;
    table.add(cell, {}, 0, false, {"dense", 0, .5, .5});
    for (const int64_t strength : {4, 16}) {
      const double value = (kFold[static_cast<size_t>(c)] == 0) == (strength == 4)
                               ? 1
                               : 0.001 * static_cast<double>(strength);
      table.add(cell, {}, 0, false, {"inlp", strength, value, 1});
    }
  }
  const ChosenFix chosen = choose_fix(table, "inlp", {}, 0, kFold);
  EXPECT_EQ(chosen.strength[0], 16);
  EXPECT_EQ(chosen.strength[1], 4);
  for (const Cell& cell : chosen.anti) EXPECT_LT(cell.value, 0.1);
}

TEST(SpuriousChoice, DestroyingTheSignalIsNotChosen) {
  const FixTable table =
      table_of({{"dense", 0, .3, .95}, {"inlp", 8, .6, .9}, {"inlp", 64, .62, .5}});
  EXPECT_EQ(choose_fix(table, "inlp", {}, 0, kFold).strength[0], 8);
}

TEST(SpuriousChoice, AChoiceThatStaysOnTheLastPointIsSaid) {
  const FixTable table = table_of({{"dense", 0, .3, .9},
                                   {"leace", 1, .4, .9},
                                   {"neurons_drop", 4, .4, .9},
                                   {"inlp", 8, .5, .9},
                                   {"inlp", 16, .4, .9},
                                   {"neurons_drop", 8, .5, .9}});
  EXPECT_FALSE(choose_fix(table, "inlp", {}, 0, kFold).last[0]);
  EXPECT_FALSE(choose_fix(table, "leace", {}, 0, kFold).last[0]) << "it has no grid";
  EXPECT_TRUE(choose_fix(table, "neurons_drop", {}, 0, kFold).last[0]);
  EXPECT_TRUE(choose_fix(table, "neurons_drop", {}, 0, kFold).last[1]);
}

/// Only the random latents do best at the last point.
std::vector<SpuriousScore> control_at_the_end() {
  std::vector<SpuriousScore> scores = {{"latents", 0, .3, .9}, {"edit", 0, .3, .9}};
  for (const char* fix : {"latents_drop", "edit", "edit_covariate"}) {
    scores.push_back({fix, 4, .5, .9});
    scores.push_back({fix, 8, .4, .9});
  }
  scores.push_back({"latents_random", 4, .4, .9});
  scores.push_back({"latents_random", 8, .5, .9});
  return scores;
}

TEST(SpuriousChoice, AControlWidensNoGrid) {
  const FixTable table = table_of(control_at_the_end(), 0);
  const GridEntry& latents = grid_entries()[0];
  EXPECT_EQ(choose_fix(table, "latents_random", 0, 0, kFold).strength[0], 8);
  EXPECT_FALSE(chosen_at(table, latents, 0, 8, kFold));
  EXPECT_TRUE(chosen_at(table, latents, 0, 4, kFold));
}

TEST(SpuriousChoice, ACaveatNamesNoControl) {
  test::SessionFixture fixture("spurious_caveat", {.documents = 40});
  fixture.add(test::identity_dictionary(24, 48), "a");
  FixTable table = table_of(control_at_the_end(), 0);
  for (int64_t c = 0; c < 4; ++c) {
    SpuriousCell cell;
    cell.category = c;
    table.add(cell, {}, 0, false, {"dense", 0, .3, .9});
    table.add(cell, {}, 0, false, {"neurons_drop", 4, .5, .9});
    table.add(cell, {}, 1, false, {"dense", 0, .6, .9});
  }
  SpuriousPlan plan;
  plan.classes = {"p", "q", "r", "s"};
  plan.fold = kFold;
  TaskResult result;
  report_spurious(fixture.session(), plan, table, {true}, result);
  EXPECT_NE(result.caveat.find("neurons dropped (4)"), std::string::npos) << result.caveat;
  EXPECT_EQ(result.caveat.find("random"), std::string::npos) << result.caveat;
  const Number* dense = test::find(result, "both_auroc", "dense", "", "share 1.00");
  EXPECT_NE(dense->interval_kind.find(" classes; one run does not"), std::string::npos)
      << dense->interval_kind;
}

TEST(SpuriousChoice, AFixThatClosesLessThanHalfOfTheGapIsNoRepair) {
  test::SessionFixture fixture("spurious_repair", {.documents = 40});
  SpuriousPlan plan;
  plan.classes = {"p", "q", "r", "s"};
  plan.fold = kFold;
  const auto caveat = [&](double fixed) {
    // (anti + within)/2 is .6 without a fix and .75 without the correlation.
    FixTable table = table_of({{"dense", 0, .3, .9}, {"leace", 1, fixed, .9}});
    for (int64_t c = 0; c < 4; ++c) {
      SpuriousCell cell;
      cell.category = c;
      table.add(cell, {}, 1, false, {"dense", 0, .6, .9});
    }
    TaskResult result;
    report_spurious(fixture.session(), plan, table, {}, result);
    return result.caveat;
  };
  EXPECT_NE(caveat(.36).find("no fix closes half of the gap between no fix (0.600) and training "
                             "without the correlation (0.750); the best, "),
            std::string::npos)
      << caveat(.36);
  EXPECT_NE(caveat(.36).find("closes 20 %"), std::string::npos) << caveat(.36);
  EXPECT_NE(caveat(.44).find("closes 47 %"), std::string::npos) << caveat(.44);
  EXPECT_EQ(caveat(.46), "") << "53 %";
}

TEST(SpuriousChoice, AGridGoesOnByDoublingUpToWhatThereIs) {
  const GridEntry &latents = grid_entries()[0], &covariate = grid_entries()[3];
  EXPECT_EQ(wider(latents, 16, 48), 32);
  EXPECT_EQ(wider(latents, 32, 48), 47);
  EXPECT_EQ(wider(latents, 47, 48), std::nullopt);
  EXPECT_EQ(wider(covariate, 100, 48), 200) << "a factor takes nothing away";
  const Grids fitting = fitting_grids({}, 24, 60);
  EXPECT_EQ(fitting.latents, std::vector<int64_t>{16});
  EXPECT_EQ(fitting.inlp, (std::vector<int64_t>{4, 16}));
  EXPECT_EQ(fitting.covariate, Grids{}.covariate);
}

}  // namespace
}  // namespace assay::eval::spurious
