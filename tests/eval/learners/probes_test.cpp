// What the comparison with scikit-learn (probes_test.py) does not reach: bits, threads, the shared
// interface, bad options; and definitions on small numbers.
#include "eval/learners/probes.h"

#include <gtest/gtest.h>

#include <Eigen/Cholesky>
#include <algorithm>
#include <cmath>
#include <string>

#include "eval/learners/erasure.h"
#include "eval/learners/probes_text.h"
#include "kernels/base/error.h"
#include "kernels/base/random.h"
#include "kernels/base/thread_pool.h"

namespace assay::eval {
namespace {

struct Rows {
  std::vector<float> values;
  std::vector<uint8_t> y;
  std::vector<int64_t> documents;  // each row its own
  int64_t features;

  Rows(int64_t n, int64_t f, uint64_t seed, double strength = 1)
      : values(static_cast<std::size_t>(n * f)), features(f) {
    Rng rng(seed);
    for (int64_t i = 0; i < n; ++i) {
      y.push_back(static_cast<uint8_t>(i % 2));
      documents.push_back(i);
      for (int64_t j = 0; j < f; ++j) {
        const double shift = j % 5 == 0 ? strength * static_cast<double>(i % 2) : 0;
        values[static_cast<std::size_t>(i * f + j)] = static_cast<float>(rng.normal() + shift);
      }
    }
  }
  ConstMatrix x() const { return {values.data(), std::ssize(values) / features, features}; }
};

ProbeOptions options_of(const Rows& rows) {
  ProbeOptions options;
  options.logistic.documents = rows.documents;
  return options;
}

constexpr ProbeKind kKinds[] = {ProbeKind::logistic, ProbeKind::diff_means, ProbeKind::lda,
                                ProbeKind::pca_logistic, ProbeKind::knn};

TEST(ProbesTest, EveryKindFindsAPlantedDirectionOnFreshRows) {
  const Rows train(300, 40, 1, 1.5), test(300, 40, 2, 1.5);
  for (ProbeKind kind : kKinds) {
    const auto probe = fit_probe(kind, train.x(), train.y, options_of(train), 3);
    EXPECT_GT(auroc(probe->score(test.x()), test.y), .93) << static_cast<int>(kind);
  }
}

TEST(ProbesTest, PermutedLabelsGiveChance) {
  const Rows train(400, 40, 4, 1.5), test(2000, 40, 5, 1.5);
  for (ProbeKind kind : kKinds) {
    double sum = 0;
    for (uint64_t seed = 0; seed < 12; ++seed) {
      std::vector<uint8_t> labels = train.y;
      Rng(seed).shuffle(std::span(labels));
      sum +=
          auroc(fit_probe(kind, train.x(), labels, options_of(train), 3)->score(test.x()), test.y) /
          12;
    }
    EXPECT_NEAR(sum, .5, .12) << static_cast<int>(kind);
  }
}

TEST(ProbesTest, SameBitsOnAnyNumberOfThreads) {
  const Rows wide(90, 200, 6), narrow(150, 30, 7);
  const LogisticOptions own = by_document(wide.documents), low = by_document(narrow.documents);
  LogisticOptions l1 = own;
  l1.penalty = Penalty::l1;
  auto fit = [&](int64_t task) {
    if (task % 4 == 0) return fit_logistic(wide.x(), wide.y, own, 1).score(wide.x());
    if (task % 4 == 1) return fit_logistic(narrow.x(), narrow.y, low, 1).score(narrow.x());
    if (task % 4 == 2) return fit_logistic(wide.x(), wide.y, l1, 1).score(wide.x());
    return fit_pca_logistic(wide.x(), wide.y, 10, own, 1).score(wide.x());
  };
  std::vector<std::vector<double>> expected, found(16);
  for (int64_t task = 0; task < 16; ++task) expected.push_back(fit(task));
  ThreadPool(4).run(16,
                    [&](int64_t task, int) { found[static_cast<std::size_t>(task)] = fit(task); });
  EXPECT_EQ(expected, found);
}

TEST(ProbesTest, StridedViewsGiveTheSameBits) {
  const Rows rows(100, 20, 8);
  std::vector<float> padded(100 * 33, NAN);
  for (std::size_t i = 0; i < 100; ++i) std::copy_n(&rows.values[i * 20], 20, &padded[i * 33]);
  const ConstMatrix view(padded.data(), 100, 20, 33);
  for (ProbeKind kind : kKinds) {
    EXPECT_EQ(fit_probe(kind, rows.x(), rows.y, options_of(rows), 3)->score(rows.x()),
              fit_probe(kind, view, rows.y, options_of(rows), 3)->score(view));
  }
}

TEST(ProbesTest, KernelFormEqualsThePrimal) {
  // The same 30 features, once as they are and once beside 200 constant ones, which takes the other
  // way.
  const Rows rows(100, 30, 9);
  std::vector<float> wide(100 * 230, 2.5F);
  for (std::size_t i = 0; i < 100; ++i) std::copy_n(&rows.values[i * 30], 30, &wide[i * 230]);
  const LogisticOptions options = by_document(rows.documents);
  const LinearProbe primal = fit_logistic(rows.x(), rows.y, options, 1);
  const LinearProbe kernel = fit_logistic(ConstMatrix{wide.data(), 100, 230}, rows.y, options, 1);
  EXPECT_EQ(primal.c, kernel.c);
  for (std::size_t j = 0; j < 30; ++j) EXPECT_NEAR(primal.weights[j], kernel.weights[j], 1e-7);
  for (std::size_t j = 30; j < 230; ++j) EXPECT_EQ(kernel.weights[j], 0);
}

/// A class's covariance by Ledoit and Wolf (2004), term by term: standardised rows, the mean of
/// their outer products S, its distance δ from μI and the error β of S as the mean squared distance
/// of single outer products from it, of which there are n; S goes the share β/δ of the way to μI.
Eigen::MatrixXd naive_covariance(Eigen::MatrixXd rows) {
  const double n = static_cast<double>(rows.rows()), p = static_cast<double>(rows.cols());
  rows.rowwise() -= rows.colwise().mean().eval();
  Eigen::VectorXd sd = (rows.colwise().squaredNorm().transpose() / n).cwiseSqrt();
  rows = (rows * sd.cwiseInverse().asDiagonal()).eval();
  const Eigen::MatrixXd identity = Eigen::MatrixXd::Identity(rows.cols(), rows.cols());
  const Eigen::MatrixXd s = rows.transpose() * rows / n;
  const double mu = s.trace() / p, delta = (s - mu * identity).squaredNorm() / p;
  double beta = 0;
  for (int64_t i = 0; i < rows.rows(); ++i)
    beta += (rows.row(i).transpose() * rows.row(i) - s).squaredNorm() / p / n / n;
  const double share = std::min(beta, delta) / delta;
  return sd.asDiagonal() * ((1 - share) * s + share * mu * identity) * sd.asDiagonal();
}

TEST(ProbesTest, LdaIsTheLogOddsUnderTheShrunkCovariance) {
  // Correlated features of unlike scales; few rows are shrunk much, many little.
  for (const int64_t n : {12, 300}) {
    Rng rng(14);
    constexpr int64_t kFeatures = 4;
    std::vector<float> x;
    std::vector<uint8_t> y;
    Eigen::MatrixXd rows[2];
    for (const uint8_t label : {uint8_t{1}, uint8_t{0}}) {
      rows[label].resize(label ? n : 2 * n, kFeatures);
      for (int64_t i = 0; i < rows[label].rows(); ++i) {
        const double common = rng.normal();
        for (int64_t j = 0; j < kFeatures; ++j) {
          x.push_back(static_cast<float>(std::pow(10., j - 2) *
                                         (common + rng.normal() + (label && j == 1 ? .8 : 0))));
          rows[label](i, j) = x.back();
        }
        y.push_back(label);
      }
    }
    const Eigen::MatrixXd covariance =
        2. / 3 * naive_covariance(rows[0]) + 1. / 3 * naive_covariance(rows[1]);
    const Eigen::VectorXd zero = rows[0].colwise().mean(), one = rows[1].colwise().mean(),
                          w = covariance.ldlt().solve(one - zero);
    const LinearProbe probe = fit_lda({x.data(), 3 * n, kFeatures}, y);
    for (int64_t j = 0; j < kFeatures; ++j)
      EXPECT_NEAR(probe.weights[static_cast<size_t>(j)] / w[j], 1, 1e-9) << n << " rows, " << j;
    EXPECT_NEAR(probe.bias, -w.dot(one + zero) / 2 - std::log(2.), 1e-9) << n << " rows";
  }
}

TEST(ProbesTest, ColumnsScoreTheWholeMatrix) {
  const Rows rows(200, 25, 10);
  const std::vector<int64_t> ranked = rank_features(rows.x(), rows.y);
  for (std::size_t i = 0; i < 5; ++i) EXPECT_EQ(ranked[i] % 5, 0);
  const LinearProbe probe = fit_columns(rows.x(), rows.y, {20, 3}, by_document(rows.documents), 1);
  const std::vector<double> scores = probe.score(rows.x());
  for (std::size_t i = 0; i < 200; ++i) {
    const double expected = probe.bias + probe.weights[0] * rows.values[i * 25 + 20] +
                            probe.weights[1] * rows.values[i * 25 + 3];
    EXPECT_NEAR(scores[i], expected, 1e-12);
  }
}

TEST(ProbesTest, NeighboursAreTheNearestByCosineAndOfEquallyNearTheEarlierRows) {
  // Rows along the first axis, of any length, are as near to it as can be: rows 2, 3, 5, 8 of 10.
  const std::vector<float> x = {0, 1, 1, 3, 2, 0, 1, 0, -1, 0, 5, 0, 0, 0, 0, -1, 3, 0, 1, 1};
  const std::vector<uint8_t> y = {0, 1, 1, 0, 0, 1, 0, 1, 1, 0};
  const std::vector<float> queries = {7, 0, 0, 0};
  const auto shares = [&](int64_t k) {
    return fit_knn({x.data(), 10, 2}, y, k)->score({queries.data(), 2, 2});
  };
  EXPECT_EQ(shares(1)[0], 1);         // row 2
  EXPECT_EQ(shares(2)[0], 1. / 2);    // and 3
  EXPECT_EQ(shares(3)[0], 2. / 3);    // and 5
  EXPECT_EQ(shares(4)[0], 3. / 4);    // and 8
  EXPECT_EQ(shares(5)[0], 3. / 5);    // and 9, at 45 degrees
  EXPECT_EQ(shares(6)[0], 4. / 6);    // and 1, further off
  EXPECT_EQ(shares(10)[0], 5. / 10);  // all
  // A row of zeros is as near to all: they come in order.
  EXPECT_EQ(shares(3)[1], 2. / 3);
  EXPECT_EQ(shares(5)[1], 2. / 5);
}

TEST(ProbesTest, WhatRoundingLeftOfAFeatureIsNoFeature) {
  const Rows good(200, 6, 8);
  Rows with = good, residue(200, 1, 9);
  with.features = 7;
  with.values.clear();
  for (int64_t i = 0; i < 200; ++i) {
    with.values.insert(with.values.end(), good.values.begin() + i * 6,
                       good.values.begin() + (i + 1) * 6);
    // Standardised up it would tell the labels apart, and a row where it is 1 would score 1e33.
    with.values.push_back(1e-33f *
                          (residue.values[static_cast<size_t>(i)] + static_cast<float>(i % 2)));
  }
  for (const Penalty penalty : {Penalty::l2, Penalty::l1}) {
    LogisticOptions options = by_document(good.documents);
    options.penalty = penalty;
    const LinearProbe alone = fit_logistic(good.x(), good.y, options, 1);
    const LinearProbe probe = fit_logistic(with.x(), good.y, options, 1);
    EXPECT_EQ(probe.weights[6], 0);
    for (size_t j = 0; j < 6; ++j) EXPECT_NEAR(probe.weights[j], alone.weights[j], 1e-6);
    EXPECT_NEAR(probe.bias, alone.bias, 1e-6);
  }
}

TEST(ProbesTest, ConstantFeaturesAloneGiveTheSameScoreToAll) {
  const std::vector<float> x(40 * 3, .1F);
  std::vector<uint8_t> y(40);
  for (std::size_t i = 0; i < 10; ++i) y[i] = 1;
  const std::vector<int64_t> documents = Rows(40, 1, 1).documents;
  const LinearProbe probe =
      fit_logistic(ConstMatrix{x.data(), 40, 3}, y, by_document(documents), 1);
  EXPECT_EQ(probe.weights, std::vector<double>(3, 0.0));
  EXPECT_NEAR(probe.bias, std::log(10.0 / 30), 1e-6);
  EXPECT_EQ(feature_contrast({x.data(), 40, 3}, y).size(), 3u);
  EXPECT_THROW(fit_diff_means({x.data(), 40, 3}, y), Error);
  EXPECT_THROW(fit_pca({x.data(), 40, 3}, 2), Error);
}

TEST(ProbesTest, SeparableDataConvergeAtLargeC) {
  const Rows rows(200, 150, 11, 30);
  LogisticOptions options;
  for (double c : {1.0, 100.0, 1e4}) {
    options.c_grid = {c};
    EXPECT_EQ(auroc(fit_logistic(rows.x(), rows.y, options, 1).score(rows.x()), rows.y), 1);
  }
}

TEST(ProbesTest, BadOptionsAreErrors) {
  const Rows rows(60, 10, 12);
  LogisticOptions options = by_document(rows.documents);
  for (const std::vector<double>& grid : {std::vector<double>{1, .1}, {-1}, {0}, {NAN}, {.1, .1}}) {
    options.c_grid = grid;
    EXPECT_THROW(fit_logistic(rows.x(), rows.y, options, 1), Error);
  }
  options.c_grid = {};
  options.folds = 1;
  EXPECT_THROW(fit_logistic(rows.x(), rows.y, options, 1), Error);
  EXPECT_THROW(fit_knn(rows.x(), rows.y, 61), Error);
  EXPECT_THROW(fit_knn(rows.x(), rows.y, 0), Error);
  EXPECT_THROW(fit_pca(rows.x(), 0), Error);
  EXPECT_THROW(fit_columns(rows.x(), rows.y, {10}, by_document(rows.documents), 1), Error);
  EXPECT_THROW(fit_inlp(rows.x(), rows.y, 11, by_document(rows.documents), 1), Error);
  const LinearProbe probe = fit_diff_means(rows.x(), rows.y);
  EXPECT_THROW(probe.score({rows.values.data(), 10, 9}), Error);
  EXPECT_THROW(fit_knn(rows.x(), rows.y, 3)->score({rows.values.data(), 10, 9}), Error);
}

TEST(ProbesTextTest, WordsAreLowerCasedRunsOfTwoOrMore) {
  EXPECT_EQ(words_of("A cat's  PAW_2, x-ray; na\xc3\xafve!"),
            (std::vector<std::string>{"cat", "paw_2", "ray", "na\xc3\xafve"}));
  EXPECT_TRUE(words_of("").empty());
}

TEST(ProbesTextTest, RowsAreCountTimesIdfOfUnitLength) {
  const TfIdf tfidf({"red red apple", "green apple", "apple pear"});
  ASSERT_EQ(tfidf.columns(), 4);
  // In byte order: apple in 3 of 3 texts, green, pear and red in one each.
  const double common = std::log(4. / 4) + 1, rare = std::log(4. / 2) + 1;
  const double length = std::sqrt(common * common + 4 * rare * rare);
  const TfIdf::Row row = tfidf.transform("Apple, red plum: red");
  ASSERT_EQ(row.size(), 2u) << "an unknown word is left out";
  EXPECT_EQ(row[0].first, 0);
  EXPECT_NEAR(row[0].second, common / length, 1e-12);
  EXPECT_EQ(row[1].first, 3);
  EXPECT_NEAR(row[1].second, 2 * rare / length, 1e-12);
  EXPECT_TRUE(tfidf.transform("plum").empty());
}

TEST(ProbesTextTest, TheFitIsAMinimumOverTfIdfRows) {
  // At the minimum of ½‖w‖² + C·Σ log-loss, w = C·Σ (y − p)·row, and Σ (y − p) = 0.
  const std::vector<std::string_view> texts{"red apple pie",   "green apple", "red red pear",
                                            "green pear tart", "red fig",     "fig tart tart"};
  const std::vector<uint8_t> y{1, 0, 1, 0, 1, 0};
  LogisticOptions options;
  options.c_grid = {3};
  const TextProbe probe = fit_tfidf_logistic(texts, y, options, 1);
  const std::vector<double> scores = probe.score(texts);
  const TfIdf tfidf(texts);
  std::vector<double> w(static_cast<std::size_t>(tfidf.columns()));
  double intercept = 0;
  for (std::size_t i = 0; i < texts.size(); ++i) {
    const double residual = y[i] - 1 / (1 + std::exp(-scores[i]));
    intercept += residual;
    for (const auto& [column, value] : tfidf.transform(texts[i]))
      w[static_cast<std::size_t>(column)] += 3 * residual * value;
  }
  EXPECT_NEAR(intercept, 0, 1e-7);
  ASSERT_EQ(probe.linear().weights.size(), w.size());
  for (std::size_t j = 0; j < w.size(); ++j) EXPECT_NEAR(probe.linear().weights[j], w[j], 1e-6);
}

TEST(ProbesTextTest, SeparatesByWordsAndRefusesWordlessTexts) {
  const std::vector<std::string_view> texts{"red apple",  "green apple", "red pear",
                                            "green pear", "red fig",     "green fig"};
  const std::vector<uint8_t> y{1, 0, 1, 0, 1, 0};
  const std::vector<int64_t> documents{0, 1, 2, 3, 4, 5};
  const TextProbe probe = fit_tfidf_logistic(texts, y, by_document(documents), 1);
  const std::vector<double> scores = probe.score({"RED plum", "green plum", "plum"});
  EXPECT_GT(scores[0], scores[2]);
  EXPECT_LT(scores[1], scores[2]);
  EXPECT_THROW(fit_tfidf_logistic({"a", "b"}, std::vector<uint8_t>{0, 1}, {}, 1), Error);
  EXPECT_THROW(fit_tfidf_logistic(texts, std::vector<uint8_t>(6), {}, 1), Error);
}

TEST(ErasureTest, APairedProjectionTakesOutTheLeadingDifferences) {
  // Pairs differ most along (1, 1, 0), less along (1, −1, 0) and never in the third feature.
  const std::vector<float> differences = {2, 2, 0, .5f, -.5f, 0, -2, -2, 0, -.5f, .5f, 0};
  const std::vector<float> x = {4, 2, 7};
  const auto erased = [&](int64_t rank) {
    std::vector<float> out(3);
    const Eraser eraser = fit_paired_projection({differences.data(), 4, 3}, rank);
    eraser.apply({x.data(), 1, 3}, {out.data(), 1, 3});
    return out;
  };
  const auto expect_near = [](const std::vector<float>& found, const std::vector<float>& expected) {
    for (size_t j = 0; j < 3; ++j) EXPECT_NEAR(found[j], expected[j], 1e-6) << j;
  };
  expect_near(erased(1), {1, -1, 7});
  expect_near(erased(2), {0, 0, 7});
  expect_near(erased(3), {0, 0, 7});  // there is no third
  EXPECT_THROW(erased(0), Error);
  std::vector<float> none(6), broken = {1, NAN, 0};
  EXPECT_THROW(fit_paired_projection({none.data(), 2, 3}, 1), Error);
  EXPECT_THROW(fit_paired_projection({broken.data(), 1, 3}, 1), Error);
}

TEST(ErasureTest, InlpProjectsOutOrthogonalDirectionsWhateverTheFeaturesScales) {
  // A feature that is 1e4 times smaller than the others has a weight as much larger: what is left
  // of it after the first round draws every later probe along the direction that is gone.
  Rows rows(200, 5, 15);
  for (std::size_t i = 0; i < 200; ++i) rows.values[i * 5] *= 1e-4f;
  const Eraser eraser = fit_inlp(rows.x(), rows.y, 3, by_document(rows.documents), 1);
  ASSERT_EQ(eraser.rank(), 3);
  EXPECT_EQ(eraser.left, eraser.right);
  for (std::size_t a = 0; a < 3; ++a)
    for (std::size_t b = 0; b <= a; ++b) {
      double product = 0;
      for (std::size_t j = 0; j < 5; ++j)
        product += eraser.right[a * 5 + j] * eraser.right[b * 5 + j];
      EXPECT_NEAR(product, a == b, 1e-14) << a << ", " << b;
    }
}

TEST(ErasureTest, InPlaceEqualsOutOfPlace) {
  const Rows rows(100, 12, 13);
  std::vector<float> out(rows.values.size()), in_place = rows.values;
  const Eraser eraser = fit_leace(rows.x(), rows.y);
  eraser.apply(rows.x(), {out.data(), 100, 12});
  eraser.apply({in_place.data(), 100, 12}, {in_place.data(), 100, 12});
  EXPECT_EQ(out, in_place);
  EXPECT_THROW(eraser.apply({out.data(), 10, 11}, {out.data(), 10, 11}), Error);
}

}  // namespace
}  // namespace assay::eval
