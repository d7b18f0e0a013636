#include "eval/tasks/debugging/debugging.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <map>

#include "eval/tasks/debugging/data.h"
#include "kernels/base/error.h"
#include "tests/eval/eval_session.h"

namespace assay::eval::debugging {
namespace {

using test::find;

/// Direction 20 says the format, direction 21 whether a text is long, direction 22 whether it is
/// short.
struct Fixture : test::SessionFixture {
  explicit Fixture(const std::string& name, int threads = 2)
      : SessionFixture(name, options(), threads) {
    std::filesystem::remove_all(folder.path());
    std::map<int64_t, int64_t> length;
    for (int64_t row = 0; row < planted.rows(); ++row)
      length[planted.text[row]] += !planted.special[row];
    for (int64_t row = 0; row < planted.rows(); ++row) {
      if (planted.special[row]) continue;
      planted.x[row * planted.options.d + 20] += planted.format[row] == 0 ? 4.0f : -4.0f;
      planted.x[row * planted.options.d + 21] += length[planted.text[row]] > 4 ? 4.0f : -4.0f;
      planted.x[row * planted.options.d + 22] += length[planted.text[row]] < 3 ? 4.0f : -4.0f;
    }
    for (int64_t row = 0; row < planted.rows(); ++row)
      planted.part_of_speech[row] = planted.document[row] / 1000 % 4 == 3;
    write_planted(planted, folder.path());
    dataset = std::make_unique<data::Dataset>(data::Dataset::open(folder.path()));
    config.seeds = 2;
    config.of<SpuriousConfig>().min_texts = 10;
    config.of<SpuriousConfig>().train_per_class = 40;
  }
  static test::PlantedOptions options() {
    test::PlantedOptions o;
    o.documents = 600;
    o.strength = 1;
    return o;
  }
};

TEST(Debugging, APerfectDictionaryNamesWhatWasPlanted) {
  Fixture fixture("debugging");
  fixture.add(test::identity_dictionary(24, 48), "perfect");
  sae::Dictionary blind = test::identity_dictionary(24, 48);
  for (const int64_t j : {20, 21, 22})
    for (const int64_t latent : {j, 24 + j})
      blind.w_enc[latent * 24 + j] = blind.w_dec[latent * 24 + j] = 0;
  fixture.add(std::move(blind), "blind");
  const auto results = fixture.run({"debugging"});
  ASSERT_EQ(results[0].status, "ok") << results[0].reason;
  const auto value = [&](const char* metric, const char* method, const char* dictionary) {
    return find(results[0], metric, method, dictionary, "strength 1.00")->value;
  };
  EXPECT_EQ(value("top1", "rates", ""), 1);
  EXPECT_EQ(value("top1", "latents", "perfect"), 1);
  EXPECT_EQ(value("top1", "neurons", ""), 1) << "here every artefact is a dimension";
  EXPECT_GT(value("detection_auroc", "latents", "perfect"), 0.95);
  // Three artefacts: by chance 1/3.
  EXPECT_LT(value("top1", "latents", "blind"), 0.67);
  EXPECT_LT(value("detection_auroc", "latents", "blind"), 0.75);
  EXPECT_NE(find(results[0], "mrr_difference", "latents - neurons", "perfect", "strength 1.00"),
            nullptr);
}

/// An arm that names artefacts in one order, whatever the data set, is at chance at best.
TEST(Debugging, ChanceIsTheBestFixedOrder) {
  Fixture fixture("debugging_chance");
  fixture.config.of<SpuriousConfig>().train_per_class = 60;  // few texts are short
  fixture.add(test::identity_dictionary(24, 48), "perfect");
  const TaskResult result = fixture.run({"debugging"})[0];
  const auto chance = [&](const std::string& name) {
    for (const MetricEntry& metric : result.metrics)
      if (metric.name == name) return metric.chance.value();
    return 0.0;
  };
  ASSERT_FALSE(result.scores.empty());
  std::vector<int64_t> order{0, 1, 2};
  double best_top1 = 0, best_mrr = 0;
  do {
    double top1 = 0, mrr = 0;
    for (const Cell& cell : result.scores[0].cells) {
      const auto rank = std::find(order.begin(), order.end(), cell.unit) - order.begin();
      top1 += rank == 0;
      mrr += 1.0 / static_cast<double>(rank + 1);
    }
    const auto count = static_cast<double>(result.scores[0].cells.size());
    best_top1 = std::max(best_top1, top1 / count);
    best_mrr = std::max(best_mrr, mrr / count);
  } while (std::next_permutation(order.begin(), order.end()));
  EXPECT_GT(best_mrr, (1 + 1.0 / 2 + 1.0 / 3) / 3 + 0.01) << "they are not equally many";
  EXPECT_NEAR(chance("mrr"), best_mrr, 1e-12);
  EXPECT_NEAR(chance("top1"), best_top1, 1e-12);
  EXPECT_EQ(result.details["chance"]["mrr"], chance("mrr"));
  const auto learnt = std::find_if(
      result.checks.begin(), result.checks.end(),
      [](const Check& check) { return check.name == "data sets show what was planted in them"; });
  ASSERT_NE(learnt, result.checks.end());
  EXPECT_NE(learnt->detail.find(fmt::format("chance {:.3f}", best_mrr)), std::string::npos)
      << learnt->detail;
  const Number* naming = find(result, "mrr", "latents", "perfect", "strength 1.00");
  EXPECT_NE(naming->interval_kind.find(" artefacts and "), std::string::npos)
      << naming->interval_kind;
}

TEST(Debugging, DataSetsHaveWhatIsPlantedAndCleanOnesDoNot) {
  Fixture fixture("debugging_plan");
  const TextTable table = text_table(*fixture.dataset);
  const DebuggingPlan plan =
      plan_debugging(*fixture.dataset, table, fixture.config.of<SpuriousConfig>(), 2, 5);
  ASSERT_EQ(plan.artefacts, (std::vector<std::string>{"short", "long", "definition"}));
  const auto category = text_labels(*fixture.dataset, table, "category");
  const auto pos = text_labels(*fixture.dataset, table, "part_of_speech");
  for (const DebuggingRun& run : plan.runs) {
    ASSERT_EQ(run.sets.size(), run.cases.size());
    for (const int64_t t : run.reference) EXPECT_EQ(pos[t], 1);
    for (size_t i = 0; i < run.sets.size(); ++i) {
      double difference[3] = {};
      for (size_t k = 0; k < run.sets[i].texts.size(); ++k) {
        EXPECT_EQ(run.set_has[i][k * 3], table.ordinary[run.sets[i].texts[k]] < 3);
        for (int a = 0; a < 3; ++a)
          difference[a] += (run.sets[i].labels[k] ? 1 : -1) * run.set_has[i][k * 3 + a] / 20.0;
      }
      const Organism& o = run.cases[i];
      if (o.kind == GoalKind::planted) {
        EXPECT_DOUBLE_EQ(difference[o.goal], 1);
        continue;
      }
      for (const double d : difference) EXPECT_LT(std::abs(d), 0.7);
    }
  }
}

TEST(Debugging, SurfacesAreReadOffTheText) {
  const auto has = [](std::string_view text) {
    std::string all;
    for (const auto& [name, holds] : surface_of(text))
      if (holds) all += name + ",";
    return all;
  };
  EXPECT_EQ(has(""), "");
  EXPECT_EQ(has("Is it (3)?"), "question mark,digit,parenthesis,capital,");
  EXPECT_EQ(has("one, `two'; \"three\""), "quotation mark,comma,semicolon,");
}

TEST(Debugging, SameNumbersOnAnyNumberOfThreadsAndTooLittleIsSaid) {
  TaskResult runs[2];
  for (const int threads : {1, 3}) {
    Fixture fixture("debugging_threads", threads);
    fixture.add(test::random_dictionary(24, 60, 8, 5), "a");
    runs[threads == 3] = fixture.run({"debugging"})[0];
  }
  ASSERT_EQ(runs[0].numbers.size(), runs[1].numbers.size());
  for (size_t i = 0; i < runs[0].numbers.size(); ++i)
    EXPECT_EQ(runs[0].numbers[i].value, runs[1].numbers[i].value);
  Fixture fixture("debugging_bad");
  fixture.config.of<SpuriousConfig>().reference_class = "adjective";
  fixture.add(test::random_dictionary(24, 60, 8, 5), "a");
  const auto results = fixture.run({"core", "debugging"});
  EXPECT_EQ(results[0].status, "ok");
  EXPECT_EQ(results[1].status, "failed");
  EXPECT_NE(results[1].reason.find("adjective"), std::string::npos) << results[1].reason;
}

}  // namespace
}  // namespace assay::eval::debugging
