#include "eval/tasks/core/core.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "eval/tasks/core/settings.h"
#include "kernels/base/error.h"
#include "tests/eval/eval_session.h"

namespace assay::eval::core {
namespace {

using test::find;

TEST(CoreTask, KnownDictionariesHaveKnownNumbers) {
  test::SessionFixture fixture("core_known", {});
  const int64_t d = fixture.planted.options.d;
  fixture.add(test::identity_dictionary(d, 2 * d), "perfect");
  // Without weights x̂ = b_dec: with the data set's mean, FVU is about 1 and every latent is dead.
  sae::Dictionary constant = test::identity_dictionary(d, 3);
  std::fill(constant.w_enc.begin(), constant.w_enc.end(), 0.0f);
  constant.b_dec = fixture.dataset->hook("activations").mean;
  fixture.add(constant, "constant");
  const auto results = fixture.run({"core"});
  ASSERT_EQ(results[0].status, "ok") << results[0].reason;
  EXPECT_NEAR(find(results[0], "fvu", "", "perfect", "validation")->value, 0, 1e-10);
  EXPECT_NEAR(find(results[0], "cosine", "", "perfect", "validation")->value, 1, 1e-6);
  EXPECT_NEAR(find(results[0], "l2_ratio", "", "perfect", "train")->value, 1, 1e-6);
  EXPECT_NEAR(find(results[0], "l0", "", "perfect", "validation")->value, static_cast<double>(d),
              1e-9);
  EXPECT_EQ(find(results[0], "dead_share", "", "perfect", "validation")->value, 0);
  EXPECT_NEAR(find(results[0], "fvu", "", "constant", "validation")->value, 1,
              0.03);  // not quite 1: the means differ
  EXPECT_EQ(find(results[0], "dead_share", "", "constant", "validation")->value, 1);
  EXPECT_EQ(find(results[0], "l0", "", "constant", "validation")->value, 0);
}

TEST(CoreTask, EveryNumberIsWholeAndSaysWhetherTrainingSawIt) {
  test::SessionFixture fixture("core_whole", {});
  fixture.add(test::random_dictionary(24, 100, 8, 5), "trained");
  add_nulls(fixture.dictionaries, {"random"}, *fixture.dataset, 3);
  const auto results = fixture.run({"core"});
  ASSERT_EQ(results[0].status, "ok") << results[0].reason;
  for (const Number& n : results[0].numbers) {
    EXPECT_GT(n.n, 0) << n.metric;
    EXPECT_FALSE(n.interval_kind.empty()) << n.metric;
    if (n.metric != "tokens") {
      ASSERT_TRUE(n.interval.has_value()) << n.metric;
      EXPECT_LE((*n.interval)[0], n.value + 1e-12) << n.metric;
      EXPECT_GE((*n.interval)[1], n.value - 1e-12) << n.metric;
    }
    ASSERT_TRUE(n.test_seen_in_training.has_value());
    EXPECT_EQ(*n.test_seen_in_training, n.dictionary == "trained" && n.part == "train")
        << n.dictionary << n.part;
  }
  for (const char* name : {"trained", "trained:random"}) {
    int64_t counted = results[0].details["dead"][name];
    for (const auto& bin : results[0].details["density_histogram"][name])
      counted += bin["count"].get<int64_t>();
    EXPECT_EQ(counted, 100) << "every latent is in one bin or dead";
  }
}

TEST(CoreTask, ACapIsKeptAndStated) {
  test::SessionFixture fixture("core_cap", {});
  fixture.add(test::random_dictionary(24, 100, 8, 5), "a");
  const TaskResult whole = fixture.run({"core"})[0];
  fixture.config.of<CoreConfig>().tokens = 400;
  const TaskResult capped = fixture.run({"core"})[0];
  ASSERT_EQ(capped.status, "ok") << capped.reason;
  const Number *all = find(whole, "fvu", "", "a", "validation"),
               *some = find(capped, "fvu", "", "a", "validation");
  EXPECT_LE(some->n, 400);
  EXPECT_GT(some->n, 350);
  EXPECT_NEAR(some->value / all->value, 1, 0.1);
  const std::string line = capped.details["measured"];
  EXPECT_NE(line.find(fmt::format("{} of {} validation tokens", some->n, all->n)),
            std::string::npos)
      << line << " " << all->n;
  EXPECT_NE(line.find("whole documents, stratified by file"), std::string::npos) << line;
  EXPECT_NE(std::find(fixture.log.begin(), fixture.log.end(), "core: measures " + line),
            fixture.log.end());
}

TEST(CoreTask, OneDocumentHasValuesAndNoIntervals) {
  const auto validation = [](int64_t documents) {
    int64_t count = 0;
    for (int64_t i = 0; i < documents; ++i)
      count += data::split_of(i * 1000 + 17, {0.2, 0.05, 0}) == data::Split::validation;
    return count;
  };
  test::PlantedOptions options;
  for (options.documents = 1; validation(options.documents) == 0;) ++options.documents;
  test::SessionFixture fixture("core_one", options);
  fixture.add(test::random_dictionary(24, 100, 8, 5), "a");
  const TaskResult result = fixture.run({"core"})[0];
  ASSERT_EQ(result.status, "ok") << result.reason;
  for (const char* metric : {"fvu", "l0", "cosine", "l2_ratio"}) {
    const Number* number = find(result, metric, "", "a", "validation");
    ASSERT_TRUE(number) << metric;
    EXPECT_FALSE(number->interval) << metric;
    EXPECT_EQ(number->interval_kind, "none: it takes two documents or more") << metric;
    EXPECT_NE(number->value, 0) << metric;
  }
}

TEST(Tasks, SplitRulesMustAgree) {
  test::SessionFixture fixture("core_rules", {});
  fixture.add(test::random_dictionary(24, 50, 8, 5), "a");
  EXPECT_EQ(fixture.session().rule.validation, 0.2);
  fixture.add(test::random_dictionary(24, 50, 8, 6), "b");
  fixture.dictionaries[1].dictionary.info.split_rule = "validation=0.2,test=0.05,seed=1";
  EXPECT_THROW(fixture.session(), UsageError);
}

TEST(Tasks, UnknownOnesAreNamedWithTheNearest) {
  test::SessionFixture fixture("core_names", {});
  fixture.add(test::random_dictionary(24, 50, 8, 5), "a");
  try {
    fixture.run({"cor"});
    FAIL();
  } catch (const UsageError& error) {
    EXPECT_NE(std::string(error.what()).find("nearest: core"), std::string::npos) << error.what();
  }
  EXPECT_THROW(fixture.run({"splice"}), UsageError) << "a named task that cannot run is an error";
}

}  // namespace
}  // namespace assay::eval::core
