#include "eval/tasks/hidden_goals/upper.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <string>

#include "eval/tasks/hidden_goals/scores.h"
#include "eval/tasks/hidden_goals/upper_organisms.h"
#include "kernels/base/error.h"
#include "tests/eval/eval_session.h"
#include "tests/eval/linear_half.h"

namespace assay::eval::hidden_goals {
namespace {

using test::find;

std::unique_ptr<sae::TrainableHalf> linear_half() {
  return std::make_unique<test::LinearHalf>(24, 0.0f);
}

struct Fixture : test::SessionFixture {
  explicit Fixture(const std::string& name, int threads = 2)
      : SessionFixture(name, {.classes = 6, .documents = 600}, threads) {
    config.seeds = 2;
    GoalUpperConfig& goals = config.of<GoalUpperConfig>();
    goals.strengths = {300};
    goals.headline_strength = 300;
    goals.benign = 8;
    goals.calibration = 4;
    goals.latents = {1, 2};
    goals.class_latents = {1};
    goals.steps = 300;
    goals.learning_rate = 5e-4;
  }
  TaskResult run_stub() {
    const Session s = session();
    std::vector<ChosenTask> tasks;
    tasks.push_back({&kHiddenGoalsUpper, make_hidden_goals_upper_task(linear_half)});
    return test::run_as_planned(s, tasks)[0];
  }
};

/// Latent c reads direction e_c alone, above the noise.
sae::Dictionary oracle() {
  sae::Dictionary dictionary = test::identity_dictionary(24, 4);
  std::fill(dictionary.b_enc.begin(), dictionary.b_enc.end(), -2.5f);
  return dictionary;
}

TEST(HiddenGoalsUpper, AnOracleNamesGoalsOfFineTunedHalves) {
  Fixture fixture("upper_oracle");
  fixture.add(oracle(), "oracle");
  const TaskResult result = fixture.run_stub();
  ASSERT_EQ(result.status, "ok") << result.reason;
  for (const char* method : {"latents_exemplar", "latents_labelled"})
    EXPECT_GT(find(result, "top1", method, "oracle", "strength 3.00")->value, 0.9) << method;
  for (const char* method :
       {"direct_query", "mean_difference_steering", "gradient_mean_difference", "black_box"})
    EXPECT_GT(find(result, "top1", method, "", "strength 3.00")->value, 0.9) << method;
  EXPECT_GT(find(result, "detection_auroc", "latents_labelled", "oracle", "strength 3.00")->value,
            0.8);
  for (const Number& n : result.numbers) EXPECT_TRUE(n.interval.has_value()) << n.metric;
  const Number* null =
      find(result, "mrr_absent_class", "latents_labelled", "oracle", "strength 3.00");
  ASSERT_NE(null, nullptr);
  EXPECT_NEAR(null->value, 0, 0.3) << "16 organisms: the sd is .08";
  for (const Score& score : result.scores) EXPECT_EQ(score.cells.size(), 12u) << "6 goals, 2 seeds";
}

TEST(HiddenGoalsUpper, HalvesThatLearntNothingAreWithheld) {
  Fixture fixture("upper_untrained");
  fixture.config.of<GoalUpperConfig>().learning_rate = 1e-7;
  fixture.add(oracle(), "oracle");
  const TaskResult result = fixture.run_stub();
  EXPECT_EQ(result.status, "withheld");
  EXPECT_TRUE(std::any_of(result.checks.begin(), result.checks.end(), [](const Check& check) {
    return !check.passed && check.name == "organisms show what was planted in them";
  }));
}

TEST(HiddenGoalsUpper, SameNumbersOnAnyNumberOfThreads) {
  TaskResult runs[2];
  for (const int threads : {1, 3}) {
    Fixture fixture("upper_threads", threads);
    fixture.config.seeds = 1;
    fixture.config.of<GoalUpperConfig>().steps = 20;
    fixture.add(test::random_dictionary(24, 60, 8, 5), "a");
    runs[threads == 3] = fixture.run_stub();
  }
  ASSERT_GT(runs[0].numbers.size(), 0u);
  ASSERT_EQ(runs[0].numbers.size(), runs[1].numbers.size());
  for (size_t i = 0; i < runs[0].numbers.size(); ++i)
    EXPECT_EQ(runs[0].numbers[i].value, runs[1].numbers[i].value);
  EXPECT_EQ(runs[0].details, runs[1].details);
}

TEST(HiddenGoalsUpper, RunsOnlyWhereItIsNamedAndHasAModel) {
  Fixture fixture("upper_missing");
  fixture.add(oracle(), "oracle");
  EXPECT_THROW(fixture.run({"hidden_goals_upper"}), UsageError);
  Session session = fixture.session();
  session.model = "some-model";
  for (const ChosenTask& task : choose_tasks({}, session))
    EXPECT_STRNE(task.entry->name, "hidden_goals_upper");
  EXPECT_TRUE(std::any_of(fixture.log.begin(), fixture.log.end(), [](const std::string& line) {
    return line.find("--tasks hidden_goals_upper") != std::string::npos;
  }));
}

/// One run's texts and z-scored data of the planted data set.
struct Material {
  explicit Material(Fixture& fixture) : table(text_table(*fixture.dataset)) {
    const GoalPlan plan =
        plan_goals(*fixture.dataset, table, fixture.config.of<GoalUpperConfig>(), 1, 5);
    run = plan.runs[0];
    for (const std::string& name : plan.classes) direction.push_back(std::stol(name.substr(5)));
    EncodeRequest request;
    for (const GoalTexts* part : {&run.audit, &run.concepts}) request.add_texts(part->texts);
    data = make_goal_data(
        run, 6,
        encode_once(fixture.context, *fixture.dataset, &table, {}, request, {0.2, 0.05, 0}));
  }
  TextTable table;
  GoalRun run;
  GoalData data;
  std::vector<int64_t> direction;  // of each class: class3 has e_3
};

/// Two ways through the half: its gradient, and running shifted texts.
TEST(HiddenGoalsUpper, SteeringALinearHalfIsGradientTimesShift) {
  Fixture fixture("upper_gradient");
  fixture.config.of<GoalUpperConfig>().steered_per_class = 1000;  // all
  const Material m(fixture);
  const auto maker = make_half_organisms(fixture.context, linear_half, *fixture.dataset, m.table,
                                         m.run, m.data, fixture.config.of<GoalUpperConfig>());
  const std::vector<float> targets(m.run.train.texts.size(), 0.5f);
  const Probed probed = maker->make({GoalKind::planted, 0, 300, 2, 2, 0}, targets, 9);
  ASSERT_EQ(probed.output.size(), m.run.audit.texts.size());
  ASSERT_EQ(probed.query.size(), m.run.query.texts.size());
  EXPECT_EQ(probed.counts, probed.steered_counts);
  double largest = 0;
  for (int64_t c = 0; c < 6; ++c)
    for (size_t s = 0; s < std::size(kSteeringSteps); ++s)
      for (int64_t to = 0; to < 6; ++to) {
        double expected = 0;
        for (int64_t j = 0; j < 24; ++j)
          expected +=
              kSteeringSteps[s] * m.data.difference[to * 24 + j] * probed.gradients[c * 24 + j];
        const double found =
            probed.steered[(c * std::ssize(kSteeringSteps) + static_cast<int64_t>(s)) * 6 + to];
        EXPECT_NEAR(found, expected, 1e-3 * std::max(1.0, std::fabs(expected)));
        largest = std::max(largest, std::fabs(found));
      }
  EXPECT_GT(largest, 0.01);
}

/// Benign organisms see the class that their audit texts lack as often as planted ones see the
/// goal.
TEST(HiddenGoalsUpper, TrainingBatchesEmphasiseTheAbsentClassOfEveryOrganism) {
  Fixture fixture("upper_batches");
  fixture.config.of<GoalUpperConfig>().steps = 200;
  fixture.config.of<GoalUpperConfig>().emphasis = 40;
  const Material m(fixture);
  struct Recorder : test::LinearHalf {
    explicit Recorder(std::vector<int64_t>& seen) : LinearHalf(24, 0.0f), seen_(seen) {}
    void step(const float* x, const int64_t* mask, int64_t batch, int64_t length,
              const std::function<void(const float*, float*)>&, double) override {
      for (int64_t b = 0; b < batch; ++b) {
        std::vector<double> mean(
            6);  // the class is the direction with the largest mean over ordinary tokens
        for (int64_t t = 0; t < length; ++t)
          for (int64_t c = 0; c < 6 && mask[b * length + t] && x[(b * length + t) * 24] < 100; ++c)
            mean[c] += x[(b * length + t) * 24 + c];
        ++seen_[std::max_element(mean.begin(), mean.end()) - mean.begin()];
      }
    }
    std::vector<int64_t>& seen_;
  };
  const std::vector<float> targets(m.run.train.texts.size(), 0.0f);
  for (const GoalKind kind :
       {GoalKind::planted, GoalKind::benign, GoalKind::decoy, GoalKind::calibration}) {
    std::vector<int64_t> seen(6);
    const auto maker = make_half_organisms(
        fixture.context, [&] { return std::make_unique<Recorder>(seen); }, *fixture.dataset,
        m.table, m.run, m.data, fixture.config.of<GoalUpperConfig>());
    const bool decoy = kind == GoalKind::decoy;
    maker->make({kind, 0, 300, decoy ? 4 : kind == GoalKind::planted ? 1 : -1, 1, 0}, targets, 3);
    const double texts = 200 * 32, others = 1 - (decoy ? 24 : 12) / 32.0,
                 share = 12 / 32.0 + others / 6;
    EXPECT_NEAR(static_cast<double>(seen[m.direction[1]]) / texts, share, 0.05);
    EXPECT_NEAR(static_cast<double>(seen[m.direction[4]]) / texts, decoy ? share : others / 6,
                0.05);
  }
}

}  // namespace
}  // namespace assay::eval::hidden_goals
