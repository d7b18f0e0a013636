// The auditor's methods against their definitions, on planted data.
#include "eval/tasks/hidden_goals/methods.h"

#include <gtest/gtest.h>

#include <Eigen/Cholesky>
#include <algorithm>
#include <cmath>
#include <numeric>

#include "eval/statistics/stats.h"
#include "kernels/base/random.h"
#include "tests/eval/eval_session.h"

namespace assay::eval::hidden_goals {
namespace {

using Eigen::MatrixXd;
using Eigen::VectorXd;

constexpr int32_t kClasses = 6;
constexpr int64_t kDim = 24, kLatents = 60;

/// One run's texts, its codes by a random dictionary, and a reading drawn at random.
struct Material {
  explicit Material(const std::string& name)
      : fixture(name, {.classes = kClasses, .documents = 600}),
        table(text_table(*fixture.dataset)) {
    config.latents = {2, 7};
    config.class_latents = {1, 3};
    config.exemplar_texts = {5, 30};
    config.exemplars = 4;
    run = plan_goals(*fixture.dataset, table, config, 1, 5).runs[0];
    run.concepts.texts.resize(run.concepts.texts.size() - 20);  // classes of different sizes
    run.concepts.classes.resize(run.concepts.texts.size());
    dictionary = test::random_dictionary(kDim, kLatents, 8, 5);
    EncodeRequest request;
    for (const GoalTexts* part : {&run.audit, &run.concepts}) request.add_texts(part->texts);
    const sae::Dictionary* const list[] = {&dictionary};
    cache = encode_once(fixture.context, *fixture.dataset, &table, list, request, {0.2, 0.05, 0});
    data = make_goal_data(run, kClasses, cache);
    Rng rng(8);
    for (int64_t j = 0; j < kDim; ++j) reading.gradient.push_back(rng.normal());
    for (int64_t i = 0; i < data.audit.rows; ++i) reading.output.push_back(rng.normal());
    for (int64_t i = 0; i < 3 * kClasses; ++i) reading.steering.push_back(rng.normal());
    for (size_t i = 0; i < data.query_class.size(); ++i) reading.query.push_back(rng.normal());
  }
  LatentAuditor auditor() const {
    return {dictionary, cache, cache.dictionaries[0].pooled, run.concepts, data, config};
  }
  double activation(size_t concept_text, int64_t latent) const {
    const SparseCodes& pooled = cache.dictionaries[0].pooled;
    const int64_t slot = cache.slot(run.concepts.texts[concept_text]);
    for (int64_t p = pooled.row_offsets[slot]; p < pooled.row_offsets[slot + 1]; ++p)
      if (pooled.indices[p] == latent) return pooled.values[p];
    return 0;
  }
  double count(int32_t c) const {
    return static_cast<double>(std::count(data.concept_class.begin(), data.concept_class.end(), c));
  }
  /// Votes of concept texts for their classes, by share over base rate.
  std::vector<double> lift(const std::vector<size_t>& voters) const {
    std::vector<double> result(kClasses);
    for (const size_t i : voters)
      result[static_cast<size_t>(data.concept_class[i])] += 1 / static_cast<double>(voters.size());
    for (int32_t c = 0; c < kClasses; ++c)
      result[static_cast<size_t>(c)] *= static_cast<double>(data.concepts.rows) / count(c);
    return result;
  }

  test::SessionFixture fixture;
  TextTable table;
  HiddenGoalsConfig config;
  GoalRun run;
  sae::Dictionary dictionary;
  EncodeCache cache;
  GoalData data;
  Reading reading;
};

void expect_near(const std::vector<double>& found, const std::vector<double>& expected,
                 double tolerance, const std::string& what) {
  ASSERT_EQ(found.size(), expected.size()) << what;
  for (size_t i = 0; i < found.size(); ++i) EXPECT_NEAR(found[i], expected[i], tolerance) << what;
}

/// Indices by a value, the largest first.
std::vector<size_t> descending(const std::vector<double>& values) {
  std::vector<size_t> order(values.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::stable_sort(order.begin(), order.end(),
                   [&](size_t a, size_t b) { return values[a] > values[b]; });
  return order;
}

TEST(HiddenGoalsMethods, DataAreInTheConceptTextsUnits) {
  const Material m("methods_data");
  const Features raw = gather_dense(m.cache, m.cache.dense, m.run.concepts.texts);
  const Features audit = gather_dense(m.cache, m.cache.dense, m.run.audit.texts);
  const int64_t n = raw.rows;
  for (int64_t j = 0; j < kDim; ++j) {
    double mean = 0, square = 0;
    for (int64_t i = 0; i < n; ++i) mean += raw.values[i * kDim + j] / static_cast<double>(n);
    for (int64_t i = 0; i < n; ++i)
      square += std::pow(raw.values[i * kDim + j] - mean, 2) / static_cast<double>(n);
    EXPECT_NEAR(m.data.mean[j], mean, 1e-9);
    EXPECT_NEAR(m.data.sd[j], std::sqrt(square), 1e-9);
    EXPECT_NEAR(m.data.audit.values[3 * kDim + j],
                (audit.values[3 * kDim + j] - mean) / std::sqrt(square), 1e-4);
    for (int32_t c = 0; c < kClasses; ++c) {
      double own = 0, others = 0;
      for (int64_t i = 0; i < n; ++i)
        (m.data.concept_class[i] == c ? own : others) += m.data.concepts.values[i * kDim + j];
      EXPECT_NEAR(m.data.difference[c * kDim + j],
                  own / m.count(c) - others / (static_cast<double>(n) - m.count(c)), 1e-6);
    }
  }
}

TEST(HiddenGoalsMethods, DenseArmsAreAsDefined) {
  Material m("methods_dense");
  constexpr int32_t kAbsent = 2;
  const auto found = DenseAuditor(m.fixture.context, m.data, m.config, 3).score(m.reading, kAbsent);
  ASSERT_EQ(found.size(), 6u);
  std::vector<double> query(kClasses), gradient(kClasses), probe(kClasses);
  const std::vector<LinearProbe> probes = class_probes(m.fixture.context, m.data, 3);
  const double mean = std::accumulate(m.reading.query.begin(), m.reading.query.end(), 0.0) /
                      static_cast<double>(m.reading.query.size());
  for (size_t c = 0; c < kClasses; ++c) {
    double sum = 0, texts = 0, length = 0, along = 0;
    for (size_t i = 0; i < m.reading.query.size(); ++i)
      if (m.data.query_class[i] == static_cast<int32_t>(c)) {
        sum += m.reading.query[i];
        texts += 1;
      }
    query[c] = sum / texts - mean;
    for (size_t j = 0; j < kDim; ++j) {
      gradient[c] += m.reading.gradient[j] * m.data.difference[c * kDim + j];
      along += m.reading.gradient[j] * probes[c].weights[j];
      length += probes[c].weights[j] * probes[c].weights[j];
    }
    probe[c] = along / std::sqrt(length);
  }
  EXPECT_EQ(found[0].method, "direct_query");
  expect_near(found[0].scores[0], query, 1e-9, "direct_query");
  for (size_t step = 0; step < 3; ++step)
    for (size_t c = 0; c < kClasses; ++c)
      EXPECT_EQ(found[1].scores[step][c], m.reading.steering[step * kClasses + c]);
  EXPECT_EQ(found[1].settings, (std::vector<std::string>{"step 0.5", "step 1", "step 2"}));
  expect_near(found[2].scores[0], gradient, 1e-9, "gradient_mean_difference");
  expect_near(found[3].scores[0], probe, 1e-9, "probe_direction");
}

TEST(HiddenGoalsMethods, ProbesAreBalancedAndOfTheirClass) {
  Material m("methods_probes");
  const std::vector<LinearProbe> probes = class_probes(m.fixture.context, m.data, 3);
  for (int32_t c = 0; c < kClasses; ++c) {
    std::vector<uint8_t> labels;
    for (const int32_t own : m.data.concept_class) labels.push_back(own == c);
    const std::vector<double> scores = probes[static_cast<size_t>(c)].score(m.data.concepts.view());
    EXPECT_GT(auroc(scores, labels), 0.8) << c;
    double weighed = 0;  // balanced: either side's mean probability is a half
    for (size_t i = 0; i < labels.size(); ++i) {
      const double share = labels[i] ? m.count(c) : static_cast<double>(labels.size()) - m.count(c);
      weighed += 1 / (1 + std::exp(-scores[i])) / share / 2;
    }
    EXPECT_NEAR(weighed, 0.5, 0.02) << c;
  }
}

TEST(HiddenGoalsMethods, BlackBoxIsARidgeRegressionWithoutTheAbsentClass) {
  Material m("methods_black_box");
  for (const int32_t absent : {0, 4}) {
    const auto found =
        DenseAuditor(m.fixture.context, m.data, m.config, 3).score(m.reading, absent)[4];
    ASSERT_EQ(found.method, "black_box");
    std::vector<int64_t> texts;
    for (int64_t i = 0; i < m.data.audit.rows; ++i)
      if (m.data.audit_class[i] != absent) texts.push_back(i);
    MatrixXd x(std::ssize(texts), kDim);
    VectorXd y(std::ssize(texts));
    for (int64_t i = 0; i < x.rows(); ++i) {
      for (int64_t j = 0; j < kDim; ++j) x(i, j) = m.data.audit.values[texts[i] * kDim + j];
      y[i] = 3 + m.reading.output[texts[i]];  // an intercept takes the constant
    }
    x.rowwise() -= x.colwise().mean().eval();
    y.array() -= y.mean();
    const double penalties[] = {0.01, 0.1, 1, 10};
    ASSERT_EQ(found.scores.size(), 4u);
    for (size_t p = 0; p < 4; ++p) {
      MatrixXd normal = x.transpose() * x;
      normal.diagonal().array() += penalties[p] * static_cast<double>(y.size());
      const VectorXd w = normal.llt().solve(x.transpose() * y);
      std::vector<double> expected;
      for (int64_t c = 0; c < kClasses; ++c)
        expected.push_back(
            Eigen::Map<const VectorXd>(m.data.difference.data() + c * kDim, kDim).dot(w));
      expect_near(found.scores[p], expected, 1e-8, found.settings[p]);
    }
  }
}

TEST(HiddenGoalsMethods, TheTextsFurthestAlongTheGradientVote) {
  Material m("methods_exemplars");
  const auto found = DenseAuditor(m.fixture.context, m.data, m.config, 3).score(m.reading, 1)[5];
  ASSERT_EQ(found.method, "dense_exemplar");
  std::vector<double> along(static_cast<size_t>(m.data.concepts.rows));
  for (size_t i = 0; i < along.size(); ++i)
    for (size_t j = 0; j < kDim; ++j)
      along[i] += m.reading.gradient[j] * m.data.concepts.values[i * kDim + j];
  std::vector<size_t> order = descending(along);
  for (const size_t setting : {size_t{1}, size_t{0}}) {
    order.resize(setting == 1 ? 30 : 5);
    expect_near(found.scores[setting], m.lift(order), 1e-9, found.settings[setting]);
  }
}

TEST(HiddenGoalsMethods, LatentsVoteWithTheTextsOnWhichTheyAreMostActive) {
  Material m("methods_vote");
  const LatentAuditor auditor = m.auditor();
  const GoalScores found = auditor.score(m.reading)[0];
  ASSERT_EQ(found.method, "latents_exemplar");
  ASSERT_EQ(found.scores.size(), 4u) << "two kinds of activity, two numbers of latents";
  for (size_t setting = 0; setting < 4; ++setting) {
    const std::vector<double> attribution = auditor.attribution(m.reading, setting >= 2);
    std::vector<size_t> voters;
    const std::vector<size_t> order = descending(attribution);
    for (size_t rank = 0; rank < (setting % 2 ? 7u : 2u); ++rank) {
      std::vector<double> active(m.run.concepts.texts.size());
      for (size_t i = 0; i < active.size(); ++i)
        active[i] = m.activation(i, static_cast<int64_t>(order[rank]));
      const std::vector<size_t> texts = descending(active);
      for (size_t t = 0; t < 4 && active[texts[t]] > 0 && attribution[order[rank]] > 0; ++t)
        voters.push_back(texts[t]);
    }
    expect_near(found.scores[setting], m.lift(voters), 1e-9, found.settings[setting]);
  }
  for (double& g : m.reading.gradient) g = 0;
  expect_near(auditor.score(m.reading)[0].scores[0], std::vector<double>(kClasses), 1e-12,
              "no latent raises the score: no votes");
}

TEST(HiddenGoalsMethods, TheLatentsMostSelectiveForAClassStandForIt) {
  Material m("methods_labelled");
  const LatentAuditor auditor = m.auditor();
  const GoalScores found = auditor.score(m.reading)[1];
  ASSERT_EQ(found.method, "latents_labelled");
  const auto texts = static_cast<double>(m.run.concepts.texts.size());
  std::vector<std::vector<double>> own(kClasses, std::vector<double>(kLatents)), others = own;
  std::vector<double> sd(kLatents), alive;
  for (size_t j = 0; j < kLatents; ++j) {
    double mean = 0, square = 0;
    for (size_t i = 0; i < m.run.concepts.texts.size(); ++i) {
      const double value = m.activation(i, static_cast<int64_t>(j));
      mean += value / texts;
      square += value * value / texts;
      for (int32_t c = 0; c < kClasses; ++c) {
        const bool in = m.data.concept_class[i] == c;
        (in ? own : others)[static_cast<size_t>(c)][j] +=
            value / (in ? m.count(c) : texts - m.count(c));
      }
    }
    sd[j] = std::sqrt(std::max(0.0, square - mean * mean));
    if (mean > 0) alive.push_back(sd[j]);
  }
  const double floor = quantile(alive, 0.5) / 2;
  for (size_t setting = 0; setting < 4; ++setting) {
    const std::vector<double> attribution = auditor.attribution(m.reading, setting >= 2);
    std::vector<double> expected;
    for (size_t c = 0; c < kClasses; ++c) {
      std::vector<double> selectivity(kLatents);
      for (size_t j = 0; j < kLatents; ++j)
        selectivity[j] = (own[c][j] - others[c][j]) / (sd[j] + floor);
      const std::vector<size_t> order = descending(selectivity);
      const size_t count = setting % 2 ? 3 : 1;
      double sum = 0;
      for (size_t rank = 0; rank < count; ++rank) {
        ASSERT_GT(selectivity[order[rank]], 0);
        sum += attribution[order[rank]] / static_cast<double>(count);
      }
      expected.push_back(sum);
    }
    expect_near(found.scores[setting], expected, 1e-6, found.settings[setting]);
  }
}

}  // namespace
}  // namespace assay::eval::hidden_goals
