#include "eval/tasks/spurious/removal.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "eval/tasks/spurious/removal_scores.h"
#include "eval/tasks/spurious/settings.h"
#include "kernels/base/error.h"
#include "kernels/base/random.h"
#include "tests/eval/eval_session.h"

namespace assay::eval::spurious {
namespace {

using test::find;

Features random_features(int64_t rows, int64_t cols, uint64_t seed) {
  Features x{rows, cols, {}};
  Rng rng(seed);
  for (int64_t i = 0; i < rows * cols; ++i) x.values.push_back(static_cast<float>(rng.normal()));
  return x;
}

/// 40 texts, 5 latents, 6 dimensions, a probe.
struct Small {
  RemovalSpace space{random_features(40, 5, 1), random_features(40, 5, 2),
                     random_features(5, 6, 3).values};
  Features x_test = random_features(40, 6, 4);
  LinearProbe probe;
  std::vector<int64_t> rows;
  std::vector<uint8_t> labels;
  Small() {
    probe.features = 6;
    for (const float w : random_features(1, 6, 5).values) probe.weights.push_back(w);
    probe.bias = 0.2;
    for (int64_t i = 0; i < 40; ++i) {
      rows.push_back(i);
      labels.push_back(i % 3 == 0);
    }
  }
};

TEST(TargetedRemoval, AblationIsTakingTheLatentsDecodingAway) {
  Small s;
  const std::vector<int64_t> ablated{1, 4};
  double right = 0;
  for (int64_t i = 0; i < 40; ++i) {
    std::vector<float> x(s.x_test.values.begin() + i * 6, s.x_test.values.begin() + (i + 1) * 6);
    for (const int64_t j : ablated)
      for (int64_t k = 0; k < 6; ++k)
        x[k] -= s.space.test.values[i * 5 + j] * s.space.decoder[j * 6 + k];
    double score = s.probe.bias;
    for (int64_t k = 0; k < 6; ++k) score += s.probe.weights[k] * x[k];
    right += (score > 0) == (s.labels[i] == 1);
  }
  EXPECT_NEAR(ablated_accuracy(s.space, s.probe.score(s.x_test.view()),
                               alignments(s.space, s.probe), ablated, s.rows, s.labels),
              right / 40, 1e-12);
}

TEST(TargetedRemoval, EffectsAreMeanDifferencesTimesAlignment) {
  Small s;
  const std::vector<double> aligned = alignments(s.space, s.probe);
  std::vector<double> difference(5);
  for (int64_t j = 0; j < 5; ++j) {
    double mean[2] = {}, count[2] = {};
    for (int64_t i = 0; i < 40; ++i) {
      mean[s.labels[i]] += s.space.train.values[i * 5 + j];
      count[s.labels[i]] += 1;
    }
    difference[j] = mean[1] / count[1] - mean[0] / count[0];
    double expected = 0;
    for (int64_t k = 0; k < 6; ++k) expected += s.probe.weights[k] * s.space.decoder[j * 6 + k];
    EXPECT_NEAR(aligned[j], expected, 1e-6);
  }
  const auto all = choose_ablated(s.space, aligned, s.rows, s.labels, 5, false);
  ASSERT_EQ(all.size(), 5u);
  for (size_t i = 1; i < all.size(); ++i)
    EXPECT_GE(std::abs(difference[all[i - 1]] * aligned[all[i - 1]]),
              std::abs(difference[all[i]] * aligned[all[i]]));
  // TPP looks at what the class has more of: other latents have no effect and are never ablated.
  const auto positive = choose_ablated(s.space, aligned, s.rows, s.labels, 5, true);
  EXPECT_EQ(std::ssize(positive),
            std::count_if(difference.begin(), difference.end(), [](double v) { return v > 0; }));
  for (const int64_t j : positive) EXPECT_GT(difference[j], 0);
}

TEST(TargetedRemoval, AblatingAnOraclesLatentIsErasingItsAttribute) {
  Features train = random_features(60, 6, 6);
  const Features test = random_features(20, 6, 7);
  std::vector<uint8_t> labels;
  for (int64_t i = 0; i < 60; ++i) {
    labels.push_back(i % 2);
    train.values[i * 6 + 1] += 2.0f * static_cast<float>(i % 2);
  }
  const Eraser eraser = fit_leace(train.view(), labels);
  const RemovalSpace space = oracle_space(train, test, {eraser});
  Features erased = test;
  eraser.apply(test.view(), {erased.values.data(), 20, 6});
  for (int64_t i = 0; i < 20; ++i)
    for (int64_t k = 0; k < 6; ++k)
      EXPECT_NEAR(test.values[i * 6 + k] - space.test.values[i] * space.decoder[k],
                  erased.values[i * 6 + k], 1e-4);
}

TEST(TargetedRemoval, ScrIsTheShareOfTheGapThatCloses) {
  EXPECT_NEAR(scr_score(0.6, 0.7, 0.8), 0.5, 1e-12);
  EXPECT_LT(scr_score(0.6, 0.5, 0.8), 0);
  EXPECT_EQ(scr_score(0.8, 0.9, 0.8), 0);
}

struct Fixture : test::SessionFixture {
  explicit Fixture(const std::string& name, int threads = 2)
      : SessionFixture(name, options(), threads) {
    std::filesystem::remove_all(folder.path());
    for (int64_t row = 0; row < planted.rows(); ++row)
      if (!planted.special[row])
        planted.x[row * planted.options.d + 20] += planted.format[row] == 0 ? 4.0f : -4.0f;
    write_planted(planted, folder.path());
    dataset = std::make_unique<data::Dataset>(data::Dataset::open(folder.path()));
    config.of<SpuriousConfig>().min_texts = 10;
    config.of<SpuriousConfig>().train_per_class = 60;
    config.of<SpuriousConfig>().ablate = {1, 2, 20};
    config.of<SpuriousConfig>().headline_ablate = 2;
  }
  static test::PlantedOptions options() {
    test::PlantedOptions o;
    o.documents = 600;
    return o;
  }
};

TEST(TargetedRemoval, APerfectDictionaryIsFarAboveARandomOne) {
  Fixture fixture("removal");
  fixture.add(test::identity_dictionary(24, 48), "perfect");
  fixture.add(test::random_dictionary(24, 60, 8, 5), "random");
  const auto results = fixture.run({"targeted_removal"});
  // The planted directions are the dictionary's own, so it ties with the oracle at most: the task
  // is not withheld.
  ASSERT_EQ(results[0].status, "ok") << results[0].reason;
  const auto value = [&](const char* metric, const char* method, const char* dictionary) {
    const Number* n = find(results[0], metric, method, dictionary, "n 2");
    return n ? n->value : -9;
  };
  // Two latents (or one dimension) hold the format, and one the class: ablating them takes most of
  // what there is.
  EXPECT_GT(value("scr", "oracle", ""), 0.7);
  EXPECT_GT(value("scr", "latents", "perfect"), 0.7);
  EXPECT_LT(value("scr", "latents", "random"), 0.3);
  // A probe that is right nearly always and then guesses loses almost .5.
  EXPECT_GT(value("tpp", "oracle", ""), 0.35);
  EXPECT_GT(value("tpp", "latents", "perfect"), 0.35);
  EXPECT_LT(value("tpp", "latents", "perfect"), value("tpp", "oracle", ""));
  EXPECT_LT(value("tpp", "latents", "random"), 0.2);
  EXPECT_GT(value("tpp", "neurons", ""), 0.1) << "here every class is a dimension";
  EXPECT_EQ(results[0].scores.size(), 2u * 3) << "the controls of latents are no candidates";
  // Others of the same weight know nothing of the class.
  EXPECT_LT(value("tpp", "random_latents", "perfect"), 0.1);
  EXPECT_LT(value("scr", "random_latents", "perfect"), 0.3);
  EXPECT_EQ(find(results[0], "tpp", "random_latents", "random", "n 2")->control, "random_latents");
  const Number* difference =
      find(results[0], "tpp_difference", "latents - random_latents", "perfect", "n 2");
  ASSERT_TRUE(difference);
  EXPECT_NEAR(difference->value,
              value("tpp", "latents", "perfect") - value("tpp", "random_latents", "perfect"), 1e-9);
  EXPECT_GT((*difference->interval)[0], 0);
  EXPECT_EQ(results[0].details["differences"].size(), 2u * 2);
  // Of every dictionary, metric and number; at 20 too few may be left to draw.
  EXPECT_EQ(results[0].details["random_latents"].size(), 2u * 2 * 3);
  for (const auto& row : results[0].details["random_latents"]) {
    if (row["part"] == "n 20") continue;
    EXPECT_EQ(row["drawn"], row["chosen"]) << row;
  }
}

TEST(TargetedRemoval, NoNumberDependsOnWhatStandsBeside) {
  TaskResult alone, second;
  for (const bool beside : {false, true}) {
    Fixture fixture("removal_beside");
    if (beside) fixture.add(test::random_dictionary(24, 40, 6, 9), "other");
    fixture.add(test::random_dictionary(24, 60, 8, 5), "a");
    (beside ? second : alone) = fixture.run({"targeted_removal"})[0];
  }
  ASSERT_GT(alone.numbers.size(), 20u);
  for (const Number& n : alone.numbers) {
    const Number* again = find(second, n.metric, n.method, n.dictionary, n.part);
    ASSERT_NE(again, nullptr) << n.method;
    EXPECT_EQ(again->value, n.value) << n.metric << " of " << n.method;
  }
}

TEST(TargetedRemoval, SameNumbersOnAnyNumberOfThreadsAndBadSettingsAreNamed) {
  TaskResult runs[2];
  for (const int threads : {1, 3}) {
    Fixture fixture("removal_threads", threads);
    fixture.add(test::random_dictionary(24, 60, 8, 5), "a");
    runs[threads == 3] = fixture.run({"targeted_removal"})[0];
  }
  ASSERT_EQ(runs[0].numbers.size(), runs[1].numbers.size());
  for (size_t i = 0; i < runs[0].numbers.size(); ++i)
    EXPECT_EQ(runs[0].numbers[i].value, runs[1].numbers[i].value);
  Fixture fixture("removal_bad");
  fixture.add(test::random_dictionary(24, 60, 8, 5), "a");
  fixture.config.of<SpuriousConfig>().headline_ablate = 3;
  const auto results = fixture.run({"core", "targeted_removal"});
  EXPECT_EQ(results[0].status, "ok");
  EXPECT_NE(results[1].reason.find("headline_ablate"), std::string::npos) << results[1].reason;
}

}  // namespace
}  // namespace assay::eval::spurious
