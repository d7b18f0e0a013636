#include <gtest/gtest.h>

#include "eval/results/results.h"
#include "tests/eval/eval_session.h"

namespace assay::eval {
namespace {

/// A task whose arms have one name.
class Namesakes : public Task {
 public:
  TaskPlan plan(const Session&, EncodeRequest&) const override { return {}; }
  void run(const Session&, const EncodeCache&, const TaskPlan&, TaskResult& result) const override {
    result.arms = {{"one", "one", "baseline", "activations", "mean"},
                   {"one", "another", "baseline", "activations", "median"}};
    result.metrics = {{"auroc", "AUROC", "higher", .5}};
  }
};

constexpr TaskEntry kNamesakes = {"namesakes", "Namesakes", "None.", true, &make_task<Namesakes>};

TEST(RunTasks, WordsThatDoNotFitFailTheirTaskAlone) {
  test::SessionFixture fixture("run_words", {});
  fixture.add(test::random_dictionary(24, 60, 8, 5), "a");
  const Session session = fixture.session();
  std::vector<ChosenTask> tasks = choose_tasks({"core"}, session);
  tasks.push_back({&kNamesakes, kNamesakes.make()});
  Results results;
  results.tasks = run_tasks(session, tasks);
  EXPECT_EQ(results.tasks[0].status, "ok") << results.tasks[0].reason;
  EXPECT_EQ(results.tasks[1].status, "failed");
  EXPECT_NE(results.tasks[1].reason.find("two named 'one'"), std::string::npos)
      << results.tasks[1].reason;
  EXPECT_TRUE(results.tasks[1].arms.empty());
  for (const EvalDictionary& d : fixture.dictionaries) results.dictionaries.push_back(d.entry);
  EXPECT_NO_THROW(check_references(results));
}

}  // namespace
}  // namespace assay::eval
