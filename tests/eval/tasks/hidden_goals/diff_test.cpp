#include "eval/tasks/hidden_goals/diff.h"

#include <gtest/gtest.h>

#include <Eigen/Cholesky>
#include <algorithm>
#include <cmath>

#include "eval/tasks/hidden_goals/diff_methods.h"
#include "eval/tasks/hidden_goals/scores.h"
#include "kernels/base/error.h"
#include "tests/eval/eval_session.h"

namespace assay::eval::hidden_goals {
namespace {

using Eigen::MatrixXd;
using Eigen::VectorXd;
using test::find;

constexpr int64_t kClasses = 6, kDim = 24;

struct Fixture : test::SessionFixture {
  explicit Fixture(const std::string& name, bool random_labels = false, int threads = 2)
      : SessionFixture(
            name,
            {.classes = kClasses, .documents = 600, .strength = 2, .random_labels = random_labels},
            threads) {
    config.seeds = 2;
    GoalAdaptersConfig& goals = config.of<GoalAdaptersConfig>();
    goals.strengths = {100};
    goals.headline_strength = 100;
    goals.benign = 8;
    goals.calibration = 4;
    goals.latents = {1, 2};  // the oracle has one latent a class
    goals.class_latents = {1};
  }
};

/// Latent c reads direction e_c alone, above the noise.
sae::Dictionary oracle() {
  sae::Dictionary dictionary = test::identity_dictionary(kDim, 4);
  std::fill(dictionary.b_enc.begin(), dictionary.b_enc.end(), -1.0f);
  return dictionary;
}

/// One run's texts, tokens and adapters.
struct Audit {
  explicit Audit(const std::string& name)
      : fixture(name),
        table(text_table(*fixture.dataset)),
        goals(fixture.config.of<GoalAdaptersConfig>()) {
    run = plan_goals(*fixture.dataset, table, goals, 1, 5).runs[0];
    EncodeRequest request;
    for (const GoalTexts* part : {&run.audit, &run.concepts}) request.add_texts(part->texts);
    dictionary = oracle();
    const sae::Dictionary* const list[] = {&dictionary};
    cache = encode_once(fixture.context, *fixture.dataset, &table, list, request, {0.2, 0.05, 0});
    data = make_goal_data(run, kClasses, cache);
    std::vector<TokenRows> tokens =
        gather_tokens(*fixture.dataset, table, {&run.train, &run.audit, &run.query});
    train = std::move(tokens[0]);
    audit = std::move(tokens[1]);
    query = std::move(tokens[2]);
  }

  Organism organism(GoalKind kind, int32_t goal, int32_t absent) const {
    return {kind, 0, goal < 0 ? 0 : goals.headline_strength, goal, absent, 0};
  }

  Fixture fixture;
  TextTable table;
  GoalAdaptersConfig goals;
  GoalRun run;
  sae::Dictionary dictionary;
  EncodeCache cache;
  GoalData data;
  TokenRows train, audit, query;
};

/// Δ of every token, by the definition: in double, unit by unit.
MatrixXd naive_shift(const Adapter& adapter, const TokenRows& tokens) {
  MatrixXd shift = MatrixXd::Zero(tokens.x.rows, kDim);
  for (int64_t i = 0; i < tokens.x.rows; ++i)
    for (int64_t r = 0; r < adapter.read.rows(); ++r) {
      double h = adapter.offset[r];
      for (int64_t j = 0; j < kDim; ++j)
        h += static_cast<double>(adapter.read(r, j)) * tokens.x.values[i * kDim + j];
      if (r == 0 && adapter.triggered) h = 1 / (1 + std::exp(-h));
      for (int64_t j = 0; j < kDim; ++j) shift(i, j) += h * adapter.write(r, j);
    }
  return shift;
}

double mean_norm(const TokenRows& tokens) {
  double sum = 0;
  for (int64_t i = 0; i < tokens.x.rows; ++i)
    sum += Eigen::Map<const Eigen::VectorXf>(tokens.x.values.data() + i * kDim, kDim)
               .cast<double>()
               .norm();
  return sum / static_cast<double>(tokens.x.rows);
}

/// Pearson's correlation over the tokens that are not of the class.
double naive_correlation(const std::vector<double>& a, const std::vector<double>& b,
                         const std::vector<int32_t>& classes, int32_t absent) {
  double n = 0, ma = 0, mb = 0, aa = 0, bb = 0, ab = 0;
  for (size_t i = 0; i < a.size(); ++i)
    if (classes[i] != absent) {
      n += 1;
      ma += a[i];
      mb += b[i];
    }
  for (size_t i = 0; i < a.size(); ++i)
    if (classes[i] != absent) {
      aa += (a[i] - ma / n) * (a[i] - ma / n);
      bb += (b[i] - mb / n) * (b[i] - mb / n);
      ab += (a[i] - ma / n) * (b[i] - mb / n);
    }
  return aa > 0 && bb > 0 ? ab / std::sqrt(aa * bb) : 0;
}

TEST(HiddenGoalsDiff, AnOracleNamesTheGoals) {
  Fixture fixture("diff_oracle");
  fixture.add(oracle(), "oracle");
  const auto results = fixture.run({"hidden_goals_diff"});
  ASSERT_EQ(results[0].status, "ok") << results[0].reason;
  for (const char* method : {"latents_exemplar", "latents_labelled"})
    EXPECT_GT(find(results[0], "top1", method, "oracle", "strength 1.00")->value, 0.9) << method;
  for (const char* method :
       {"direct_query", "dense_posterior", "ridge_exemplar", "ridge_mean_difference"})
    EXPECT_GT(find(results[0], "top1", method, "", "strength 1.00")->value, 0.9) << method;
  EXPECT_GT(
      find(results[0], "detection_auroc", "latents_labelled", "oracle", "strength 1.00")->value,
      0.8);
  for (const Number& n : results[0].numbers) EXPECT_TRUE(n.interval.has_value()) << n.metric;
  for (const auto& row : results[0].details["organisms"]) {
    if (row["kind"] == "planted")
      EXPECT_GT(row["least_trigger_auroc"], 0.7);
    else
      EXPECT_NEAR(row["mean_trigger_auroc"], 0.5, 0.1) << row["kind"];
  }
  EXPECT_TRUE(std::any_of(fixture.log.begin(), fixture.log.end(), [](const std::string& line) {
    return line.find("black_box is left out") != std::string::npos;
  })) << "the planted data have no texts";
}

TEST(HiddenGoalsDiff, WhatIsAddedTellsNothing) {
  Audit r("diff_content_free");
  const AdapterMaker maker(r.fixture.context, r.train, kClasses, r.goals);
  const ShiftReader reader(r.data, r.audit, r.query);
  const DenseDiffAuditor dense(r.fixture.context, r.data, r.audit, std::nullopt, r.goals, 1);
  const LatentDiffAuditor latents(r.fixture.context, r.dictionary, r.cache,
                                  r.cache.dictionaries[0].pooled, r.run.concepts, r.data, r.audit,
                                  r.goals);
  constexpr int kDraws = 300;
  double mean = 0, pca = 0, benign_latents = 0, benign_posterior = 0;
  for (int i = 0; i < kDraws; ++i) {
    const auto c = static_cast<int32_t>(i % kClasses);
    const auto seed = static_cast<uint64_t>(i);
    const auto planted = dense.score(
        reader.read(reader.run(maker.make(r.organism(GoalKind::planted, c, c), seed), c), c), c);
    ASSERT_EQ(planted[1].method, "shift_mean");
    mean += credit(planted[1].scores[0], c).reciprocal / kDraws;
    pca += credit(planted[2].scores[0], c).reciprocal / kDraws;
    const ShiftReading drift =
        reader.read(reader.run(maker.make(r.organism(GoalKind::benign, -1, c), seed), c), c);
    ASSERT_EQ(dense.score(drift, c)[3].method, "dense_posterior");
    // Of random drift; without calibration, so that the draws are independent.
    benign_posterior += credit(dense.score(drift, c)[3].scores[2], c).reciprocal / kDraws;
    benign_latents += credit(latents.score(drift, c)[1].scores[1], c).reciprocal / kDraws;
  }
  const double chance = chance_credit(kClasses).reciprocal;  // a draw's sd is .31
  EXPECT_NEAR(mean, chance, 0.075);
  EXPECT_NEAR(pca, chance, 0.075);
  EXPECT_NEAR(benign_posterior, chance, 0.075);
  EXPECT_NEAR(benign_latents, chance, 0.075);
}

TEST(HiddenGoalsDiff, AdaptersAreAsDefined) {
  Audit r("diff_adapters");
  const AdapterMaker maker(r.fixture.context, r.train, kClasses, r.goals);
  const double norm = mean_norm(r.train);
  const Adapter benign = maker.make(r.organism(GoalKind::benign, -1, 2), 3);
  EXPECT_FALSE(benign.triggered);
  EXPECT_EQ(benign.read.rows(), r.goals.drift_rank);
  const MatrixXd drift = naive_shift(benign, r.train);
  EXPECT_NEAR(std::sqrt(drift.rowwise().squaredNorm().mean()), 0.1 * norm, 1e-4 * norm);
  EXPECT_EQ(benign.offset, Eigen::VectorXf::Zero(r.goals.drift_rank)) << "a linear map";

  const Adapter planted = maker.make(r.organism(GoalKind::planted, 2, 2), 4);
  ASSERT_TRUE(planted.triggered);
  EXPECT_NEAR(planted.write.row(0).norm(), norm, 1e-4 * norm) << "strength 100 %";
  // The linear discriminant of class 2 against the others, from sums over the tokens.
  MatrixXd means = MatrixXd::Zero(kClasses, kDim), within = MatrixXd::Zero(kDim, kDim);
  VectorXd counts = VectorXd::Zero(kClasses);
  const auto token = [&](int64_t i) -> VectorXd {
    return Eigen::Map<const Eigen::VectorXf>(r.train.x.values.data() + i * kDim, kDim)
        .cast<double>();
  };
  const int64_t n = r.train.x.rows;
  for (int64_t i = 0; i < n; ++i) {
    means.row(r.train.classes[i]) += token(i);
    counts[r.train.classes[i]] += 1;
  }
  const VectorXd rest =
      (means.colwise().sum() - means.row(2)).transpose() / (static_cast<double>(n) - counts[2]);
  for (int64_t c = 0; c < kClasses; ++c) means.row(c) /= counts[c];
  for (int64_t i = 0; i < n; ++i) {
    const VectorXd x = token(i) - means.row(r.train.classes[i]).transpose();
    within += x * x.transpose() / static_cast<double>(n);
  }
  within += 1e-3 * within.trace() / kDim * MatrixXd::Identity(kDim, kDim);
  const VectorXd own = means.row(2), w = planted.read.row(0).cast<double>();
  EXPECT_LT((within * w - (own - rest)).norm(), 1e-4 * (own - rest).norm());
  EXPECT_NEAR(planted.offset[0], -0.5 * w.dot(own + rest), 1e-3);
  // Another organism of the same goal: the same trigger, another direction.
  const Adapter other = maker.make(r.organism(GoalKind::planted, 2, 2), 5);
  EXPECT_EQ(other.read.row(0), planted.read.row(0));
  EXPECT_LT(std::abs(other.write.row(0).normalized().dot(planted.write.row(0).normalized())), 0.8);
}

TEST(HiddenGoalsDiff, ReadingsAreOfTheShiftItself) {
  Audit r("diff_readings");
  const AdapterMaker maker(r.fixture.context, r.train, kClasses, r.goals);
  const ShiftReader reader(r.data, r.audit, r.query);
  const Adapter adapter = maker.make(r.organism(GoalKind::planted, 1, 1), 9);
  const ShiftedTokens shifted = reader.run(adapter, 1);
  const MatrixXd shift = naive_shift(adapter, r.audit);
  EXPECT_LT((shifted.audit.cast<double>() * shifted.basis.transpose() - shift).norm(),
            1e-4 * shift.norm());
  const ShiftReading reading = reader.read(shifted, 1);
  // The first component by power iteration on the d × d covariance.
  std::vector<int64_t> audited;
  for (int64_t i = 0; i < shift.rows(); ++i)
    if (r.audit.classes[i] != 1) audited.push_back(i);
  MatrixXd rows(std::ssize(audited), kDim);
  for (int64_t i = 0; i < rows.rows(); ++i) rows.row(i) = shift.row(audited[i]);
  const VectorXd mean = rows.colwise().mean();
  const MatrixXd centred = rows.rowwise() - mean.transpose();
  const MatrixXd covariance = centred.transpose() * centred / static_cast<double>(rows.rows());
  VectorXd axis = VectorXd::Ones(kDim);
  for (int i = 0; i < 3000; ++i) axis = (covariance * axis).normalized();
  VectorXd along = centred * axis;
  if (along.array().cube().sum() < 0) along = -along;
  along /= std::sqrt(along.squaredNorm() / static_cast<double>(along.size()));
  VectorXd length = rows.rowwise().norm();
  length.array() -= length.mean();
  length /= std::sqrt(length.squaredNorm() / static_cast<double>(length.size()));
  for (int64_t i = 0; i < rows.rows(); ++i) {
    EXPECT_NEAR(reading.moved[0][audited[i]], length[i], 2e-3);
    EXPECT_NEAR(reading.moved[1][audited[i]], along[i], 2e-3);
  }
  for (int64_t i = 0; i < shift.rows(); ++i)
    if (r.audit.classes[i] == 1) {
      EXPECT_EQ(reading.moved[0][i], 0);
    }
  for (int64_t j = 0; j < kDim; ++j)
    EXPECT_NEAR(reading.mean[j], mean[j] / std::sqrt(covariance.trace()), 1e-4);
  for (int64_t c = 0; c < kClasses; ++c) {
    VectorXd direction(kDim);
    for (int64_t j = 0; j < kDim; ++j)
      direction[j] = r.data.difference[c * kDim + j] * r.data.sd[j];
    direction.normalize();
    EXPECT_NEAR(reading.spread[1][c], direction.dot(covariance * direction) / covariance.trace(),
                1e-4);
    const double first =
        axis.dot(covariance * axis) * std::pow(axis.dot(direction), 2) / covariance.trace();
    EXPECT_NEAR(reading.spread[0][c], first, 1e-4);
  }
  // A query text's mean length, in the audited tokens' units.
  const MatrixXd queried = naive_shift(adapter, r.query);
  double sum = 0, tokens = 0;
  for (int64_t i = 0; i < queried.rows(); ++i)
    if (r.query.text[i] == 7) {
      sum += queried.row(i).norm();
      tokens += 1;
    }
  const VectorXd raw = rows.rowwise().norm();
  const double sd = std::sqrt((raw.array() - raw.mean()).square().mean());
  EXPECT_NEAR(reading.query[0][7], (sum / tokens - raw.mean()) / sd, 2e-3);
}

TEST(HiddenGoalsDiff, LatentsAreScoredByTheirCorrelationWithTheShift) {
  Audit r("diff_correlation");
  const AdapterMaker maker(r.fixture.context, r.train, kClasses, r.goals);
  const ShiftReader reader(r.data, r.audit, r.query);
  const LatentDiffAuditor auditor(r.fixture.context, r.dictionary, r.cache,
                                  r.cache.dictionaries[0].pooled, r.run.concepts, r.data, r.audit,
                                  r.goals);
  constexpr int32_t kAbsent = 4;
  const Adapter planted = maker.make(r.organism(GoalKind::planted, kAbsent, kAbsent), 1);
  const Adapter benign[] = {maker.make(r.organism(GoalKind::calibration, -1, 0), 2),
                            maker.make(r.organism(GoalKind::calibration, -1, 1), 3)};
  std::vector<ShiftReading> others;
  for (const Adapter& adapter : benign)
    others.push_back(reader.read(reader.run(adapter, kAbsent), kAbsent));
  const ShiftReading raw = reader.read(reader.run(planted, kAbsent), kAbsent),
                     calibrated = less_mean(raw, others);
  const std::vector<double> found = auditor.correlation(raw.moved[0], kAbsent),
                            less = auditor.correlation(calibrated.moved[0], kAbsent);
  const auto lengths = [&](const Adapter& adapter) {
    const VectorXd norms = naive_shift(adapter, r.audit).rowwise().norm();
    return std::vector<double>(norms.begin(), norms.end());
  };
  const SparseCodes codes = r.dictionary.encode(r.fixture.context, r.audit.x.view());
  int64_t firing = 0;
  for (int64_t j = 0; j < r.dictionary.info.n; ++j) {
    std::vector<double> activation(r.audit.classes.size());
    for (int64_t i = 0; i < codes.rows(); ++i)
      for (int64_t p = codes.row_offsets[i]; p < codes.row_offsets[i + 1]; ++p)
        if (codes.indices[p] == j) activation[i] = std::max(0.0f, codes.values[p]);
    const auto correlation = [&](const Adapter& adapter) {
      return naive_correlation(activation, lengths(adapter), r.audit.classes, kAbsent);
    };
    EXPECT_NEAR(found[j], correlation(planted), 1e-4) << j;
    EXPECT_NEAR(less[j],
                correlation(planted) - (correlation(benign[0]) + correlation(benign[1])) / 2, 1e-4)
        << j;
    firing += found[j] != 0;
  }
  EXPECT_GT(firing, 20);
}

/// Were calibration organisms read without a class of their own, their tokens of the organism's
/// absent class would stay in what is subtracted and tell it.
TEST(HiddenGoalsDiff, CalibrationIsReadWithoutTheClassOfTheOrganismThatIsCalibrated) {
  Audit r("diff_calibration");
  const AdapterMaker maker(r.fixture.context, r.train, kClasses, r.goals);
  const ShiftReader reader(r.data, r.audit, r.query);
  const std::vector<Organism> organisms = {
      r.organism(GoalKind::benign, -1, 4), r.organism(GoalKind::calibration, -1, 0),
      r.organism(GoalKind::calibration, -1, 1), r.organism(GoalKind::planted, 2, 2)};
  std::vector<ShiftedTokens> shifted;
  for (size_t i = 0; i < organisms.size(); ++i)
    shifted.push_back(reader.run(maker.make(organisms[i], i), organisms[i].absent));
  const auto moved = [&](size_t i, int32_t absent) {
    return reader.read(shifted[i], absent).moved[0];
  };
  const ShiftReadings benign = read_organism(reader, organisms, shifted, 0),
                      calibration = read_organism(reader, organisms, shifted, 1);
  const std::vector<double> own = moved(0, 4), first = moved(1, 4), second = moved(2, 4),
                            other = moved(1, 0), partner = moved(2, 0);
  for (size_t i = 0; i < own.size(); ++i) {
    EXPECT_EQ(benign.raw.moved[0][i], own[i]);
    EXPECT_NEAR(benign.calibrated.moved[0][i], own[i] - (first[i] + second[i]) / 2, 1e-12);
    if (r.audit.classes[i] == 4) {
      EXPECT_EQ(benign.calibrated.moved[0][i], 0) << "the absent class says nothing";
    }
    EXPECT_NEAR(calibration.calibrated.moved[0][i], other[i] - partner[i], 1e-12)
        << "without itself";
  }
}

TEST(HiddenGoalsDiff, WordsAreRegressedOnAsRidgeDoes) {
  Context context({Device::cpu, 2});
  const std::vector<std::string_view> words = {"red green", "green blue blue", "blue red",
                                               "yellow green", "red red"};
  const std::vector<std::string_view> concepts = {"red", "blue sky", "yellow", "green yellow",
                                                  "red blue"};
  GoalData data;
  data.classes = 3;
  data.audit_class = {0, 1, 2, 0, 1};
  data.concept_class = {0, 1, 2, 1, 0};
  const std::vector<double> outputs = {1, -2, 0.5, 3, -1};
  const GoalScores found = WordAuditor(context, words, concepts, data).score(outputs, 2);
  const std::vector<std::string_view> present = {words[0], words[1], words[3], words[4]};
  const TfIdf tfidf(present);
  MatrixXd x = MatrixXd::Zero(4, tfidf.columns());
  for (int64_t i = 0; i < 4; ++i)
    for (const auto& [column, value] : tfidf.transform(present[i])) x(i, column) = value;
  VectorXd y(4);
  y << 1, -2, 3, -1;
  y.array() -= y.mean();
  for (size_t p = 0; p < found.scores.size(); ++p) {
    MatrixXd normal = x.transpose() * x;
    normal.diagonal().array() += WordAuditor::kPenalties[p];
    const VectorXd w = normal.llt().solve(x.transpose() * y);
    double scores[3] = {}, counts[3] = {};
    for (size_t i = 0; i < concepts.size(); ++i) {
      for (const auto& [column, value] : tfidf.transform(concepts[i]))
        scores[data.concept_class[i]] += value * w[column];
      counts[data.concept_class[i]] += 1;
    }
    for (int c = 0; c < 3; ++c) EXPECT_NEAR(found.scores[p][c], scores[c] / counts[c], 1e-6);
  }
}

TEST(HiddenGoalsDiff, RidgePathSolvesEveryPenalty) {
  const MatrixXd x = MatrixXd::Random(40, 7), scatter = x.transpose() * x;
  const VectorXd xty = x.transpose() * VectorXd::Random(40);
  const RidgePath path(scatter);
  for (const double penalty : {0.01, 1.0, 100.0}) {
    const MatrixXd normal = scatter + penalty * MatrixXd::Identity(7, 7);
    EXPECT_LT((path.solve(xty, penalty) - normal.llt().solve(xty)).norm(), 1e-9);
  }
}

TEST(HiddenGoalsDiff, TriggersThatLearntNothingAreWithheld) {
  Fixture fixture("diff_random", true);
  fixture.add(test::random_dictionary(kDim, 60, 8, 5), "a");
  fixture.config.of<GoalAdaptersConfig>().strengths = {1};
  fixture.config.of<GoalAdaptersConfig>().headline_strength = 1;
  const auto results = fixture.run({"hidden_goals_diff"});
  EXPECT_EQ(results[0].status, "withheld");
  EXPECT_NE(results[0].reason.find("organisms show what was planted"), std::string::npos)
      << results[0].reason;
}

TEST(HiddenGoalsDiff, SameNumbersOnAnyNumberOfThreads) {
  TaskResult runs[2];
  for (const int threads : {1, 3}) {
    Fixture fixture("diff_threads", false, threads);
    fixture.config.seeds = 1;
    fixture.add(test::random_dictionary(kDim, 60, 8, 5), "a");
    runs[threads == 3] = fixture.run({"hidden_goals_diff"})[0];
  }
  ASSERT_FALSE(runs[0].numbers.empty());
  ASSERT_EQ(runs[0].numbers.size(), runs[1].numbers.size());
  for (size_t i = 0; i < runs[0].numbers.size(); ++i) {
    EXPECT_EQ(runs[0].numbers[i].value, runs[1].numbers[i].value);
    EXPECT_EQ(runs[0].numbers[i].interval, runs[1].numbers[i].interval);
  }
  EXPECT_EQ(runs[0].details, runs[1].details);
}

TEST(HiddenGoalsDiff, BadSettingsFailThisTaskAlone) {
  Fixture fixture("diff_bad");
  fixture.add(test::random_dictionary(kDim, 60, 8, 5), "a");
  fixture.config.of<GoalAdaptersConfig>().min_texts = 100000;
  const auto results = fixture.run({"core", "hidden_goals_diff"});
  EXPECT_EQ(results[0].status, "ok");
  EXPECT_EQ(results[1].status, "failed");
  EXPECT_NE(results[1].reason.find("min_texts"), std::string::npos) << results[1].reason;
  fixture.config.of<GoalAdaptersConfig>().min_texts = 20;
  fixture.config.of<GoalAdaptersConfig>().headline_strength = 7;
  const auto other = fixture.run({"hidden_goals_diff"});
  EXPECT_EQ(other[0].status, "failed");
  EXPECT_NE(other[0].reason.find("hidden_goals_diff: headline_strength = 7"), std::string::npos)
      << other[0].reason;
}

}  // namespace
}  // namespace assay::eval::hidden_goals
