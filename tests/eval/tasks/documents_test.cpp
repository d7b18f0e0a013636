#include "eval/tasks/documents.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <set>

#include "eval/tasks/debugging/data.h"
#include "eval/tasks/hidden_goals/sample.h"
#include "eval/tasks/probing/sample.h"
#include "eval/tasks/spurious/sample.h"
#include "eval/tasks/unlearning/sample.h"
#include "kernels/base/error.h"
#include "tests/eval/eval_session.h"

namespace assay::eval {
namespace {

/// SplitMix64's mixing function and the split rule, written from docs/data-format.md alone.
uint64_t mix(uint64_t x) {
  x += 0x9e3779b97f4a7c15ull;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ull;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebull;
  return x ^ (x >> 31);
}
bool trained_on(int64_t document, double held_out, uint64_t seed) {
  const uint64_t hash = mix(mix(static_cast<uint64_t>(document)) ^ mix(seed + 0x5eed5eed5eedull));
  return static_cast<double>(hash >> 11) * 0x1p-53 >= held_out;
}

struct Fixture : test::SessionFixture {
  explicit Fixture(const std::string& name, bool verbs = false)
      : SessionFixture(name, {.documents = 900, .verbs = verbs}) {
    config.documents = "auto";
    auto& spurious = config.of<spurious::SpuriousConfig>();
    spurious.min_texts = 5;
    spurious.train_per_class = 20;
    auto& goals = config.of<hidden_goals::GoalScorersConfig>();
    goals.min_texts = 5;
    auto& unlearning = config.of<unlearning::UnlearningConfig>();
    unlearning.estimate = unlearning.train = 20;
    unlearning.test = 12;
    unlearning.tune_train = unlearning.tune_test = 4;
  }
  /// One that trained on another half of the documents than the others.
  void add_with_seed(int seed, const std::string& name, const std::string& null_kind = "") {
    add(test::random_dictionary(24, 60, 8, 5), name);
    sae::DictionaryInfo& info = dictionaries.back().dictionary.info;
    info.split_rule = fmt::format("validation=0.3,test=0.2,seed={}", seed);
    info.null_kind = dictionaries.back().entry.null_kind = null_kind;
  }
  TextTable held_back() {
    Session own = session();
    own.unseen_by = training_splits(own).rules;
    return text_table(own);
  }
  bool logged(const std::string& line) const {
    return std::find(log.begin(), log.end(), line) != log.end();
  }
};

TEST(Documents, NoTaskTestsOnTextsThatADictionaryTrainedOn) {
  Fixture fixture("documents_unseen", true);
  fixture.add_with_seed(0, "a");
  fixture.add_with_seed(7, "b", "frozen_decoder");
  const TextTable table = fixture.held_back();
  int64_t tested = 0, trained = 0;
  const auto unseen = [&](const std::vector<int64_t>& texts, const char* what) {
    for (const int64_t t : texts) {
      ++tested;
      ASSERT_FALSE(trained_on(table.document[t], 0.5, 0)) << what << ": by the first one's rule";
      ASSERT_FALSE(trained_on(table.document[t], 0.5, 7)) << what << ": by the second one's rule";
    }
  };
  const auto any = [&](const std::vector<int64_t>& texts) {
    for (const int64_t t : texts) trained += trained_on(table.document[t], 0.5, 0);
  };
  const auto& dataset = *fixture.dataset;
  const auto& config = fixture.config;
  for (const auto& cell :
       probing::plan_probing(dataset, table, config.of<probing::OodConfig>(), 2, 5).cells) {
    unseen(cell.id.texts, "ood_probing, id");
    unseen(cell.ood.texts, "ood_probing, ood");
    any(cell.train.texts);
  }
  for (const auto& cell :
       spurious::plan_spurious(dataset, table, config.of<spurious::SpuriousConfig>(), 1, 5).cells) {
    for (const LabelledTexts* part : {&cell.anti, &cell.within[0], &cell.within[1]})
      unseen(part->texts, "spurious");
    any(cell.train[0].texts);
  }
  for (const auto& run :
       debugging::plan_debugging(dataset, table, config.of<spurious::SpuriousConfig>(), 1, 5)
           .runs) {
    unseen(run.reference, "debugging");
    for (const LabelledTexts& set : run.sets) unseen(set.texts, "debugging");
  }
  for (const auto& run :
       hidden_goals::plan_goals(dataset, table, config.of<hidden_goals::GoalScorersConfig>(), 2, 5)
           .runs) {
    unseen(run.audit.texts, "hidden_goals, audit");
    unseen(run.concepts.texts, "hidden_goals, concepts");
    any(run.train.texts);
  }
  for (const auto& parts :
       unlearning::plan_unlearning(dataset, table, config.of<unlearning::UnlearningConfig>(), 5)
           .texts) {
    unseen(parts[unlearning::kTest], "unlearning");
    any(parts[unlearning::kTrain]);
  }
  EXPECT_GT(tested, 1000);
  EXPECT_GT(trained, 100) << "what is trained on may be seen";
}

TEST(Documents, AutoTakesUnseenOnesWhereTheyAreEnough) {
  Fixture fixture("documents_auto");
  fixture.add_with_seed(0, "a");
  const auto results = fixture.run({"core", "ood_probing"});
  EXPECT_FALSE(results[0].details.contains("documents")) << "core has parts of its own";
  ASSERT_EQ(results[1].status, "ok") << results[1].reason;
  const std::string line =
      "unseen: test texts come from documents that trained none of the dictionaries";
  EXPECT_EQ(results[1].details["documents"], line);
  EXPECT_TRUE(fixture.logged("task ood_probing: documents: " + line));
  const Number* number = test::find(results[1], "auroc", "latents_top4", "a", "ood");
  ASSERT_TRUE(number);
  EXPECT_EQ(number->test_seen_in_training, false);
}

TEST(Documents, AutoFallsBackAndSaysWhy) {
  Fixture fixture("documents_back");
  fixture.add_with_seed(0, "a");
  // 900 documents, 4 classes, halves: 112 of a class; of the unseen half of them 56.
  fixture.config.of<probing::OodConfig>().min_target = 90;
  const auto check = [&](const std::string& reason) {
    const TaskResult result = fixture.run({"ood_probing"})[0];
    ASSERT_EQ(result.status, "ok") << result.reason;
    const std::string line = result.details["documents"];
    EXPECT_EQ(line.find("all: "), 0u) << line;
    EXPECT_NE(line.find(reason), std::string::npos) << line;
    EXPECT_TRUE(fixture.logged("task ood_probing: documents: " + line));
    EXPECT_NE(test::find(result, "auroc", "latents_top4", "a", "ood")->test_seen_in_training,
              false);
  };
  check("unseen ones alone are too few (probing: 0 of 4 classes");
  fixture.config.of<probing::OodConfig>().min_target = 5;
  fixture.dictionaries[0].dictionary.info.data_hash = "another";
  check("a does not say which of these documents trained it");
  fixture.config.documents = "all";
  check("eval.documents asks for them");
}

TEST(Documents, AutoKeepsEveryClassOrAll) {
  Fixture fixture("documents_classes");
  fixture.add_with_seed(0, "a");
  // As many as the second smallest class has left: one class falls out.
  const Session session = fixture.session();
  const TextTable table = fixture.held_back();
  const auto& config = fixture.config.of<probing::OodConfig>();
  const uint64_t seed = derive_seed(session.seed, {'p'});
  auto& least = fixture.config.of<probing::OodConfig>().min_target;
  while (probing::plan_probing(*fixture.dataset, table, config, 1, seed).classes.size() == 4)
    ++least;
  const TaskResult result = fixture.run({"ood_probing"})[0];
  const std::string line = result.details["documents"];
  EXPECT_EQ(line.find("all: unseen ones alone have enough test texts for "), 0u) << line;
  EXPECT_NE(line.find(" of 4 (not for class"), std::string::npos) << line;
}

TEST(Documents, UnseenOnesCannotBeHadOfADictionaryThatDoesNotSay) {
  Fixture fixture("documents_unknown");
  fixture.config.documents = "unseen";
  fixture.add_with_seed(0, "a");
  fixture.add_with_seed(0, "b");
  fixture.dictionaries[1].dictionary.info.split_rule = "";
  const auto results = fixture.run({"core", "ood_probing"});
  EXPECT_EQ(results[0].status, "ok") << results[0].reason;
  EXPECT_EQ(results[1].status, "failed");
  EXPECT_NE(results[1].reason.find("b does not say which of these documents trained it"),
            std::string::npos)
      << results[1].reason;
}

TEST(Documents, ARandomControlHasSeenNothing) {
  Fixture fixture("documents_random");
  fixture.add_with_seed(0, "a");
  add_nulls(fixture.dictionaries, {"random"}, *fixture.dataset, 3);
  fixture.dictionaries[1].dictionary.info.data_hash = "";
  const TrainingSplits splits = training_splits(fixture.session());
  EXPECT_EQ(splits.rules.size(), 1u);
  EXPECT_TRUE(splits.unknown.empty());
}

}  // namespace
}  // namespace assay::eval
