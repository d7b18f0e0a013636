// The methods of the hidden-goals task on a model's difference, against their definitions.
#include "eval/tasks/hidden_goals/diff_methods.h"

#include <gtest/gtest.h>

#include <Eigen/Cholesky>
#include <algorithm>
#include <cmath>

#include "tests/eval/tasks/hidden_goals/diff_audit.h"

namespace assay::eval::hidden_goals {
namespace {

using Eigen::MatrixXd;
using Eigen::VectorXd;
using test::DiffAudit;
using test::kClasses;
using test::kDim;

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

TEST(HiddenGoalsDiffMethods, AdaptersAreAsDefined) {
  DiffAudit r("diff_adapters");
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

TEST(HiddenGoalsDiffMethods, ReadingsAreOfTheShiftItself) {
  DiffAudit r("diff_readings");
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

TEST(HiddenGoalsDiffMethods, LatentsAreScoredByTheirCorrelationWithTheShift) {
  DiffAudit r("diff_correlation");
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

TEST(HiddenGoalsDiffMethods, WordsAreRegressedOnAsRidgeDoes) {
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

TEST(HiddenGoalsDiffMethods, RidgePathSolvesEveryPenalty) {
  const MatrixXd x = MatrixXd::Random(40, 7), scatter = x.transpose() * x;
  const VectorXd xty = x.transpose() * VectorXd::Random(40);
  const RidgePath path(scatter);
  for (const double penalty : {0.01, 1.0, 100.0}) {
    const MatrixXd normal = scatter + penalty * MatrixXd::Identity(7, 7);
    EXPECT_LT((path.solve(xty, penalty) - normal.llt().solve(xty)).norm(), 1e-9);
  }
}

}  // namespace
}  // namespace assay::eval::hidden_goals
