#include "eval/tasks/hidden_goals/hidden_goals.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <numeric>
#include <set>

#include "eval/tasks/hidden_goals/scores.h"
#include "kernels/base/error.h"
#include "kernels/base/random.h"
#include "tests/eval/eval_session.h"

namespace assay::eval::hidden_goals {
namespace {

using test::find;

test::PlantedOptions options() {
  test::PlantedOptions o;
  o.classes = 6;
  o.documents = 600;
  return o;
}

struct Fixture : test::SessionFixture {
  explicit Fixture(const std::string& name, const test::PlantedOptions& o = options(),
                   int threads = 2)
      : SessionFixture(name, o, threads) {
    config.seeds = 2;
    config.of<GoalScorersConfig>().strengths = {100, 300};
    config.of<GoalScorersConfig>().headline_strength = 300;
    config.of<GoalScorersConfig>().benign = 8;
    config.of<GoalScorersConfig>().calibration = 4;
    config.of<GoalScorersConfig>().hidden = 16;
    config.of<GoalScorersConfig>().latents = {1, 2};  // the oracle has one latent a class
    config.of<GoalScorersConfig>().class_latents = {1};
  }
};

/// Latent c reads direction e_c alone, above the noise.
sae::Dictionary oracle() {
  sae::Dictionary dictionary = test::identity_dictionary(24, 4);
  std::fill(dictionary.b_enc.begin(), dictionary.b_enc.end(), -2.5f);
  return dictionary;
}

TEST(HiddenGoals, AnOracleNamesTheGoals) {
  Fixture fixture("goals_oracle");
  fixture.add(oracle(), "oracle");
  const auto results = fixture.run({"hidden_goals"});
  ASSERT_EQ(results[0].status, "ok") << results[0].reason;
  for (const char* method : {"latents_exemplar", "latents_labelled"})
    EXPECT_GT(find(results[0], "top1", method, "oracle", "strength 3.00")->value, 0.9) << method;
  for (const char* method :
       {"direct_query", "mean_difference_steering", "gradient_mean_difference", "black_box"})
    EXPECT_GT(find(results[0], "top1", method, "", "strength 3.00")->value, 0.9) << method;
  EXPECT_GT(
      find(results[0], "detection_auroc", "latents_labelled", "oracle", "strength 3.00")->value,
      0.8);
  const Number* difference = find(results[0], "mrr_difference", "latents_exemplar - dense_exemplar",
                                  "oracle", "strength 3.00");
  ASSERT_NE(difference, nullptr);
  EXPECT_NEAR(difference->value,
              find(results[0], "mrr", "latents_exemplar", "oracle", "strength 3.00")->value -
                  find(results[0], "mrr", "dense_exemplar", "", "strength 3.00")->value,
              1e-12);
  for (const Number& n : results[0].numbers) EXPECT_TRUE(n.interval.has_value()) << n.metric;
  EXPECT_EQ(results[0].scores.size(), 5u + 2u)
      << "baselines without the ceiling, and the dictionary's arms";
  for (const Score& score : results[0].scores) {
    EXPECT_EQ(score.cells.size(), 12u) << "6 goals, 2 seeds";
    EXPECT_EQ(score.headline, score.method == "latents_exemplar");
  }
}

TEST(HiddenGoals, GoalsThatTheActivationsDoNotShowAreWithheld) {
  test::PlantedOptions o = options();
  o.random_labels = true;
  Fixture fixture("goals_random", o);
  fixture.add(test::random_dictionary(24, 60, 8, 5), "a");
  const auto results = fixture.run({"hidden_goals"});
  EXPECT_EQ(results[0].status, "withheld");
  EXPECT_NE(results[0].reason.find("organisms show what was planted"), std::string::npos)
      << results[0].reason;
  EXPECT_LT(find(results[0], "mrr", "latents_labelled", "a", "strength 3.00")->value, 0.75)
      << "chance is .408";
}

TEST(HiddenGoals, SameNumbersOnAnyNumberOfThreads) {
  TaskResult runs[2];
  for (const int threads : {1, 3}) {
    Fixture fixture("goals_threads", options(), threads);
    fixture.config.seeds = 1;
    fixture.add(test::random_dictionary(24, 60, 8, 5), "a");
    runs[threads == 3] = fixture.run({"hidden_goals"})[0];
  }
  ASSERT_EQ(runs[0].numbers.size(), runs[1].numbers.size());
  for (size_t i = 0; i < runs[0].numbers.size(); ++i) {
    EXPECT_EQ(runs[0].numbers[i].value, runs[1].numbers[i].value);
    EXPECT_EQ(runs[0].numbers[i].interval, runs[1].numbers[i].interval);
  }
  EXPECT_EQ(runs[0].details, runs[1].details);
}

TEST(HiddenGoals, BadSettingsFailThisTaskAlone) {
  Fixture fixture("goals_bad");
  fixture.add(test::random_dictionary(24, 60, 8, 5), "a");
  fixture.config.of<GoalScorersConfig>().class_label = "topic";
  EXPECT_THROW(fixture.run({"core", "hidden_goals"}),
               UsageError);  // asked for by name, and it cannot run
  fixture.config.of<GoalScorersConfig>().class_label = "category";
  fixture.config.of<GoalScorersConfig>().min_texts = 100000;
  const auto results = fixture.run({"core", "hidden_goals"});
  EXPECT_EQ(results[0].status, "ok");
  EXPECT_EQ(results[1].status, "failed");
  EXPECT_NE(results[1].reason.find("min_texts"), std::string::npos) << results[1].reason;
  fixture.config.of<GoalScorersConfig>().min_texts = 20;
  fixture.config.of<GoalScorersConfig>().headline_strength = 7;
  EXPECT_EQ(fixture.run({"hidden_goals"})[0].status, "failed");
}

TEST(HiddenGoals, PartsShareNoDocumentAndALeakIsNoticed) {
  Fixture fixture("goals_plan");
  const TextTable table = text_table(*fixture.dataset);
  GoalPlan plan = plan_goals(*fixture.dataset, table, fixture.config.of<GoalScorersConfig>(), 2, 5);
  ASSERT_EQ(plan.runs.size(), 2u);
  EXPECT_EQ(plan.classes.size(), 6u);
  EXPECT_EQ(std::count(plan.fold.begin(), plan.fold.end(), 1), 3);
  for (const GoalRun& run : plan.runs) {
    std::set<int64_t> documents[3];
    for (const int64_t t : run.train.texts) documents[0].insert(table.document[t]);
    for (const int64_t t : run.audit.texts) documents[1].insert(table.document[t]);
    for (const int64_t t : run.concepts.texts) documents[2].insert(table.document[t]);
    for (const int64_t document : documents[2])
      EXPECT_EQ(documents[0].count(document) + documents[1].count(document), 0u);
    for (const int64_t document : documents[1]) EXPECT_EQ(documents[0].count(document), 0u);
  }
  plan.runs[0].audit.texts.push_back(plan.runs[0].concepts.texts[0]);
  EXPECT_THROW(check_disjoint(plan.runs[0], table), Error);
}

TEST(HiddenGoals, CreditIsTheMeanOverOrdersOfTies) {
  const std::vector<double> scores{1, 3, 2, 2, 0, 2};
  for (int32_t goal = 0; goal < 6; ++goal) {
    std::vector<int> order{0, 1, 2, 3, 4, 5};
    double top1 = 0, reciprocal = 0, count = 0;
    do {
      if (!std::is_sorted(order.begin(), order.end(),
                          [&](int a, int b) { return scores[a] > scores[b]; }))
        continue;
      const auto rank = std::find(order.begin(), order.end(), goal) - order.begin() + 1;
      top1 += rank == 1;
      reciprocal += 1.0 / static_cast<double>(rank);
      count += 1;
    } while (std::next_permutation(order.begin(), order.end()));
    EXPECT_NEAR(credit(scores, goal).top1, top1 / count, 1e-12);
    EXPECT_NEAR(credit(scores, goal).reciprocal, reciprocal / count, 1e-12);
  }
  EXPECT_THROW(credit({1, NAN, 2}, 0), Error) << "else it would rank below all";
  EXPECT_NEAR(chance_credit(24).top1, 1 / 24.0, 1e-12);
  EXPECT_NEAR(chance_credit(24).reciprocal, 0.157, 5e-4) << "the chance that the protocol states";
}

/// Planted organisms with goals 0 … 3, benign and calibration ones; setting 0 is right on even
/// goals, setting 1 on odd.
struct HandMade {
  GoalCases cases;
  GoalArm arm;
  HandMade() {
    cases.fold = {0, 1, 0, 1};
    Rng rng(1);
    for (int32_t goal = 0; goal < 4; ++goal)
      cases.organisms.push_back({GoalKind::planted, 0, 40, goal, goal, goal});
    for (int32_t i = 0; i < 8; ++i)
      cases.organisms.push_back({GoalKind::benign, 0, 0, -1, i % 4, i});
    for (int32_t i = 0; i < 6; ++i)
      cases.organisms.push_back({GoalKind::calibration, 0, 0, -1, i % 4, i});
    arm.settings = {"even", "odd"};
    arm.scores.resize(2);
    for (const Organism& o : cases.organisms)
      for (int s = 0; s < 2; ++s) {
        std::vector<double> scores;
        for (int c = 0; c < 4; ++c) scores.push_back(rng.uniform());
        if (o.goal >= 0) scores[o.goal] = o.goal % 2 == s ? 100 : -100;
        arm.scores[s].push_back(scores);
      }
  }
};

TEST(HiddenGoals, SettingsAreChosenWithoutTheGoalsTheyAreScoredOn) {
  HandMade made;
  EXPECT_EQ(choose_setting(made.arm, made.cases, 40, 0), 0u);
  EXPECT_EQ(choose_setting(made.arm, made.cases, 40, 1), 1u);
  // Each fold is right only with its own setting: a leak would score 1, the honest choice scores 0.
  const GoalCells cells = score_goals(made.arm, made.cases, 40);
  ASSERT_EQ(cells.top1.size(), 4u);
  for (const Cell& cell : cells.top1) EXPECT_EQ(cell.value, 0) << "goal " << cell.unit;
  // What happens on the tested fold moves no choice.
  for (size_t i = 0; i < 4; ++i)
    if (made.cases.fold[made.cases.organisms[i].goal] == 1)
      std::swap(made.arm.scores[0][i], made.arm.scores[1][i]);
  EXPECT_EQ(choose_setting(made.arm, made.cases, 40, 0), 0u);
}

TEST(HiddenGoals, TiesOfSettingsGoToTheFirstAndOnlyOneStrengthIsLookedAt) {
  HandMade made;
  made.arm.scores[1] = made.arm.scores[0];
  for (const int8_t fold : {0, 1}) EXPECT_EQ(choose_setting(made.arm, made.cases, 40, fold), 0u);
  EXPECT_EQ(choose_setting(made.arm, made.cases, 20, 0), 0u) << "nothing has this strength";
  EXPECT_TRUE(score_goals(made.arm, made.cases, 20).top1.empty());
  EXPECT_EQ(score_goals(made.arm, made.cases, 40).top1.size(), 4u);
}

TEST(HiddenGoals, OrganismsAreListedAsTheProtocolSays) {
  HiddenGoalsConfig config;
  for (int64_t run = 0; run < 2; ++run) {
    const std::vector<Organism> list = list_organisms(config, run, 5, 3);
    std::vector<int64_t> kinds(4), absent(5);
    for (const Organism& o : list) {
      ++kinds[static_cast<size_t>(o.kind)];
      EXPECT_EQ(o.run, run);
      EXPECT_EQ(o.goal >= 0, o.kind == GoalKind::planted || o.kind == GoalKind::decoy);
      if (o.kind == GoalKind::planted) {
        EXPECT_EQ(o.absent, o.goal) << "audited without texts of its goal";
        EXPECT_EQ(o.replicate, run);
        continue;
      }
      ++absent[static_cast<size_t>(o.absent)];
      EXPECT_EQ(o.strength, o.kind == GoalKind::decoy ? 40 : 0);
      EXPECT_NE(o.absent, o.goal) << "a decoy's declared class is there to be seen";
    }
    EXPECT_EQ(kinds, (std::vector<int64_t>{15, 12, 12, 8})) << "5 classes at 3 strengths";
    for (const int64_t count : absent) EXPECT_GT(count, 0) << "32 drawn of 5";
  }
}

/// Sums over the texts of each class, drawn at random.
std::vector<Probed> random_probed(size_t count, int64_t classes, Rng& rng) {
  std::vector<Probed> probed(count);
  const auto fill = [&](std::vector<double>& values, int64_t size) {
    for (int64_t i = 0; i < size; ++i) values.push_back(rng.normal());
  };
  for (Probed& p : probed) {
    fill(p.gradients, classes * 3);
    fill(p.steered, classes * 2 * classes);
    fill(p.output, 11);
    fill(p.query, 7);
    for (int64_t c = 0; c < classes; ++c) {
      p.counts.push_back(static_cast<double>(2 + c));
      p.steered_counts.push_back(static_cast<double>(1 + 2 * c));
    }
  }
  return probed;
}

/// Calibrated readings subtract what the others read on the same audit texts: were those read
/// without a class of their own, the gap would stay and tell the goal.
TEST(HiddenGoals, CalibrationIsReadWithoutTheClassOfTheOrganismThatIsCalibrated) {
  constexpr int32_t kClasses = 4;
  std::vector<Organism> organisms = {{GoalKind::planted, 0, 40, 2, 2, 0},
                                     {GoalKind::benign, 0, 0, -1, 0, 0},
                                     {GoalKind::decoy, 0, 40, 1, 3, 1}};
  for (int32_t i = 0; i < 3; ++i)
    organisms.push_back({GoalKind::calibration, 0, 0, -1, (i + 1) % kClasses, i});
  Rng rng(6);
  const std::vector<Probed> probed = random_probed(organisms.size(), kClasses, rng);
  const auto mean_without = [&](const std::vector<double>& sums, const std::vector<double>& counts,
                                int32_t absent, size_t column) {
    const size_t columns = sums.size() / kClasses;
    double sum = 0, count = 0;
    for (size_t c = 0; c < kClasses; ++c) {
      if (static_cast<int32_t>(c) == absent) continue;
      sum += sums[c * columns + column];
      count += counts[c];
    }
    return sum / count;
  };
  for (size_t o = 0; o < organisms.size(); ++o) {
    const int32_t absent = organisms[o].absent;
    const Readings found = read_organism(organisms, probed, o);
    std::vector<size_t> others;
    for (size_t i = 3; i < organisms.size(); ++i)
      if (i != o) others.push_back(i);
    const auto check = [&](const std::vector<double>& raw, const std::vector<double>& calibrated,
                           const std::function<double(const Probed&, size_t)>& value) {
      for (size_t j = 0; j < raw.size(); ++j) {
        double mean = 0;
        for (const size_t i : others)
          mean += value(probed[i], j) / static_cast<double>(others.size());
        EXPECT_NEAR(raw[j], value(probed[o], j), 1e-12);
        EXPECT_NEAR(calibrated[j], value(probed[o], j) - mean, 1e-12) << "organism " << o;
      }
    };
    ASSERT_EQ(found.raw.gradient.size(), 3u);
    ASSERT_EQ(found.raw.steering.size(), 8u);
    check(found.raw.gradient, found.calibrated.gradient, [&](const Probed& p, size_t j) {
      return mean_without(p.gradients, p.counts, absent, j);
    });
    check(found.raw.steering, found.calibrated.steering, [&](const Probed& p, size_t j) {
      return mean_without(p.steered, p.steered_counts, absent, j);
    });
    check(found.raw.output, found.calibrated.output,
          [](const Probed& p, size_t j) { return p.output[j]; });
    check(found.raw.query, found.calibrated.query,
          [](const Probed& p, size_t j) { return p.query[j]; });
  }
}

/// The latents' read-outs against the formula, on the planted data.
TEST(HiddenGoals, AttributionIsDecoderTimesGradientTimesActivity) {
  Fixture fixture("goals_attribution");
  fixture.add(test::random_dictionary(24, 60, 8, 5), "a");
  const sae::Dictionary& dictionary = fixture.dictionaries[0].dictionary;
  const TextTable table = text_table(*fixture.dataset);
  const GoalPlan plan =
      plan_goals(*fixture.dataset, table, fixture.config.of<GoalScorersConfig>(), 1, 5);
  const GoalRun& run = plan.runs[0];
  EncodeRequest request;
  for (const GoalTexts* part : {&run.train, &run.audit, &run.concepts})
    request.add_texts(part->texts);
  const sae::Dictionary* const list[] = {&dictionary};
  const EncodeCache cache =
      encode_once(fixture.context, *fixture.dataset, &table, list, request, {0.2, 0.05, 0});
  const GoalData data = make_goal_data(run, 6, cache);
  const SparseCodes& pooled = cache.dictionaries[0].pooled;
  const LatentAuditor auditor(dictionary, cache, pooled, run.concepts, data,
                              fixture.config.of<GoalScorersConfig>());
  Reading reading;
  Rng rng(8);
  for (int j = 0; j < 24; ++j) reading.gradient.push_back(rng.normal());
  std::vector<double> sum(60), fires(60);
  for (const int64_t t : run.concepts.texts) {
    const int64_t slot = cache.slot(t);
    for (int64_t p = pooled.row_offsets[slot]; p < pooled.row_offsets[slot + 1]; ++p) {
      sum[pooled.indices[p]] += pooled.values[p];
      fires[pooled.indices[p]] += 1;
    }
  }
  const auto all = auditor.attribution(reading, false), active = auditor.attribution(reading, true);
  for (int64_t j = 0; j < 60; ++j) {
    double effect = 0;
    for (int64_t i = 0; i < 24; ++i)
      effect += dictionary.w_dec[j * 24 + i] / data.sd[i] * reading.gradient[i];
    EXPECT_NEAR(all[j], effect * sum[j] / static_cast<double>(run.concepts.texts.size()), 1e-5);
    EXPECT_NEAR(active[j], effect * sum[j] / std::max(1.0, fires[j]), 1e-4);
  }
}

}  // namespace
}  // namespace assay::eval::hidden_goals
