// What the comparison with scikit-learn (probes_test.py) does not reach: bits, threads, the shared
// interface, bad options.
#include "eval/learners/probes.h"

#include <gtest/gtest.h>

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
