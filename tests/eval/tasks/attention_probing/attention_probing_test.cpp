#include "eval/tasks/attention_probing/attention_probing.h"

#include <gtest/gtest.h>

#include <set>
#include <tuple>

#include "eval/results/compare.h"
#include "eval/tasks/attention_probing/settings.h"
#include "tests/eval/eval_session.h"

namespace assay::eval::attention_probing {
namespace {

using test::find;

struct Fixture : test::SessionFixture {
  explicit Fixture(const std::string& name, const test::PlantedOptions& options = {},
                   int threads = 2)
      : SessionFixture(name, options, threads) {
    auto& own = config.of<AttentionConfig>();
    own.classes = 3;
    own.train_per_class = own.test_positives = own.test_negatives = 30;
    add(test::identity_dictionary(24, 4), "oracle");
    add_nulls(dictionaries, {"random"}, *dataset, 3);
  }
  TaskResult result() { return run({"attention_probing"})[0]; }
};

TEST(AttentionProbing, BothPoolingsFindClassesThatEveryTokenShows) {
  Fixture fixture("attention_planted");
  const TaskResult result = fixture.result();
  ASSERT_EQ(result.status, "ok") << result.reason;
  for (const char* method : {"dense_lr", "dense_attention"})
    EXPECT_GT(find(result, "auroc", method, "", "ood")->value, 0.85) << method;
  for (const char* method : {"latents_all", "latents_attention"}) {
    EXPECT_GT(find(result, "auroc", method, "oracle", "ood")->value, 0.85) << method;
    const Number* control = find(result, "auroc", method, "oracle:random", "ood");
    ASSERT_NE(control, nullptr);
    EXPECT_EQ(control->control, "random");
  }
  for (const char* dictionary : {"oracle", "oracle:random"}) {
    const Number* null =
        find(result, "auroc_permuted_labels", "latents_attention", dictionary, "id");
    ASSERT_NE(null, nullptr);
    EXPECT_NEAR(null->value, 0.5, 0.2) << "30 positives and 30 negatives, 6 cells";
  }
  const Number* difference =
      find(result, "auroc_difference", "latents_attention - latents_all", "oracle", "ood");
  ASSERT_NE(difference, nullptr);
  EXPECT_NEAR(difference->value,
              find(result, "auroc", "latents_attention", "oracle", "ood")->value -
                  find(result, "auroc", "latents_all", "oracle", "ood")->value,
              1e-12);
  EXPECT_EQ(result.details["differences"].size(), 5u);
  for (const Score& score : result.scores) EXPECT_EQ(score.cells.size(), 6u) << score.method;
}

TEST(AttentionProbing, EachArmHasOneScoreAndDictionariesAreCompared) {
  Fixture fixture("attention_compared");
  Results results;
  for (const EvalDictionary& own : fixture.dictionaries) results.dictionaries.push_back(own.entry);
  results.tasks.push_back(fixture.result());
  ASSERT_EQ(results.tasks[0].status, "ok") << results.tasks[0].reason;
  std::set<std::tuple<std::string, std::string>> arms;
  for (const Score& score : results.tasks[0].scores)
    EXPECT_TRUE(arms.emplace(score.method, score.dictionary).second)
        << score.method << " of " << score.dictionary;
  EXPECT_EQ(arms.size(), 6u) << "two without a dictionary, two on each";
  const Comparison comparison = compare(results);
  ASSERT_EQ(comparison.tables.size(), 1u);
  ASSERT_EQ(comparison.tables[0].cards.size(), 2u);
  for (const Card& card : comparison.tables[0].cards) EXPECT_EQ(card.method, "latents_attention");
}

TEST(AttentionProbing, FindsNothingWhereLabelsMeanNothing) {
  Fixture fixture("attention_random", {.random_labels = true});
  const TaskResult result = fixture.result();
  for (const char* method : {"dense_lr", "dense_attention"})
    EXPECT_NEAR(find(result, "auroc", method, "", "id")->value, 0.5, 0.15) << method;
}

TEST(AttentionProbing, SameNumbersOnAnyNumberOfThreads) {
  TaskResult runs[2];
  for (const int threads : {1, 3}) {
    Fixture fixture("attention_threads", {}, threads);
    runs[threads == 3] = fixture.result();
  }
  ASSERT_GT(runs[0].numbers.size(), 0u);
  ASSERT_EQ(runs[0].numbers.size(), runs[1].numbers.size());
  for (size_t i = 0; i < runs[0].numbers.size(); ++i)
    EXPECT_EQ(runs[0].numbers[i].value, runs[1].numbers[i].value);
}

TEST(AttentionProbing, IsLeftOutUnlessNamedAndQuickShrinksIt) {
  Fixture fixture("attention_default");
  const Session session = fixture.session();
  for (const ChosenTask& task : choose_tasks({}, session))
    EXPECT_STRNE(task.entry->name, "attention_probing");
  EvalConfig config;
  const auto before = config.of<AttentionConfig>();
  make_quick(config);
  EXPECT_LT(config.of<AttentionConfig>().classes, before.classes);
  EXPECT_LT(config.of<AttentionConfig>().train_per_class, before.train_per_class);
}

}  // namespace
}  // namespace assay::eval::attention_probing
