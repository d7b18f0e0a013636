// Probes on sparse features against the same probes on the matrix in full.
#include "eval/learners/sparse.h"

#include <gtest/gtest.h>

#include <cmath>

#include "eval/learners/probes.h"
#include "kernels/base/error.h"
#include "kernels/base/random.h"

namespace assay::eval {
namespace {

/// Codes as latents have them: a tenth of the entries, positive; some columns tell the class.
struct Codes {
  std::vector<float> full;
  std::vector<uint8_t> y;
  std::vector<int64_t> documents;
  SparseFeatures sparse;

  Codes(int64_t n, int64_t f, uint64_t seed) : full(static_cast<size_t>(n * f)) {
    Rng rng(seed);
    for (int64_t i = 0; i < n; ++i) {
      y.push_back(static_cast<uint8_t>(i % 2));
      documents.push_back(i / 3);
      for (int64_t j = 0; j < f; ++j) {
        const double rate = j % 7 == 0 && y.back() ? .3 : .1;
        if (rng.uniform() < rate)
          full[static_cast<size_t>(i * f + j)] = static_cast<float>(std::abs(rng.normal()));
      }
      full[static_cast<size_t>(i * f + 1)] = 2;  // constant, and everywhere
    }
    sparse = sparse_of(x(), documents);
  }
  ConstMatrix x() const { return {full.data(), std::ssize(y), std::ssize(full) / std::ssize(y)}; }
};

TEST(SparseTest, RanksColumnsAndScoresToTheBit) {
  const Codes codes(90, 200, 1), fresh(50, 200, 2);
  const std::vector<int64_t> ranked = rank_features(codes.sparse, codes.y);
  EXPECT_EQ(ranked, rank_features(codes.x(), codes.y));
  const std::vector<int64_t> first(ranked.begin(), ranked.begin() + 5);
  const LinearProbe dense = fit_columns(codes.x(), codes.y, first, by_document(codes.documents), 3);
  const LinearProbe sparse = fit_columns(codes.sparse, codes.y, first, {}, 3);
  EXPECT_EQ(sparse.weights, dense.weights);
  EXPECT_EQ(score(sparse, fresh.sparse), dense.score(fresh.x()));
  LinearProbe all = dense;  // of all columns, any weights
  all.columns.clear();
  all.weights.clear();
  for (int j = 0; j < 200; ++j) all.weights.push_back(std::sin(j));
  EXPECT_EQ(score(all, fresh.sparse), all.score(fresh.x()));
  EXPECT_LT(codes.sparse.codes.pairs(), 90 * 200 / 5) << "zeros are not kept";
}

TEST(SparseTest, LogisticRegressionIsTheSameProblem) {
  // Wider than high goes through the kernel, higher than wide through the matrix in full.
  for (const int64_t f : {int64_t{200}, int64_t{40}}) {
    const Codes codes(90, f, 4);
    for (const Penalty penalty : {Penalty::l2, Penalty::l1})
      for (const bool standardise : {true, false}) {
        LogisticOptions options;
        options.penalty = penalty;
        options.standardise = standardise;
        const LinearProbe dense =
            fit_logistic(codes.x(), codes.y, by_document(codes.documents, options), 3);
        const LinearProbe sparse = fit_logistic(codes.sparse, codes.y, options, 3);
        EXPECT_EQ(sparse.c, dense.c) << f;
        EXPECT_NEAR(sparse.cv_auroc, dense.cv_auroc, 1e-9);
        EXPECT_NEAR(sparse.bias, dense.bias, 1e-5);
        for (size_t j = 0; j < dense.weights.size(); ++j)
          EXPECT_NEAR(sparse.weights[j], dense.weights[j], 1e-5) << f << " " << j;
        EXPECT_EQ(sparse.weights[1], 0) << "a constant";
      }
  }
}

TEST(SparseTest, MeanVarianceIsTheDefinition) {
  const Codes codes(60, 30, 5);
  double total = 0;
  for (int64_t j = 0; j < 30; ++j) {
    double mean = 0, squares = 0;
    for (int64_t i = 0; i < 60; ++i) mean += codes.x().row(i)[j] / 60.0;
    for (int64_t i = 0; i < 60; ++i) squares += std::pow(codes.x().row(i)[j] - mean, 2) / 60;
    total += squares / 30;
  }
  EXPECT_NEAR(mean_variance(codes.sparse), total, 1e-9);
}

/// A column that is nowhere 0 may be far from it: its deviation is a millionth of its mean here.
TEST(SparseTest, AColumnFarFromZeroKeepsItsDigits) {
  constexpr int64_t kRows = 40, kColumns = 60;
  std::vector<float> full;
  std::vector<uint8_t> y;
  std::vector<int64_t> documents;
  Rng rng(9);
  for (int64_t i = 0; i < kRows; ++i) {
    y.push_back(static_cast<uint8_t>(i % 2));
    documents.push_back(i);
    for (int64_t j = 0; j < kColumns; ++j)
      full.push_back(static_cast<float>(1e7 + std::round(3 * rng.normal() + 2 * y.back())));
  }
  const ConstMatrix x{full.data(), kRows, kColumns};
  const SparseFeatures sparse = sparse_of(x, documents);
  double variance = 0;
  for (int64_t j = 0; j < kColumns; ++j) {
    double mean = 0;
    for (int64_t i = 0; i < kRows; ++i) mean += x.row(i)[j] / double{kRows};
    for (int64_t i = 0; i < kRows; ++i)
      variance += std::pow(x.row(i)[j] - mean, 2) / (kRows * kColumns);
  }
  EXPECT_NEAR(mean_variance(sparse), variance, 1e-6 * variance);
  LogisticOptions options;
  options.c_grid = {.1};
  const LinearProbe wide = fit_logistic(x, y, options, 1);
  const LinearProbe own = fit_logistic(sparse, y, options, 1);
  double largest = 0;
  for (const double w : wide.weights) largest = std::max(largest, std::abs(w));
  for (size_t j = 0; j < wide.weights.size(); ++j)
    EXPECT_NEAR(own.weights[j], wide.weights[j], 1e-5 * largest) << j;
}

TEST(SparseTest, ThePathIsOneFitForEveryC) {
  for (const int64_t f : {int64_t{200}, int64_t{40}}) {
    const Codes codes(90, f, 6), fresh(80, f, 7);
    LogisticOptions options;
    options.c_grid = {1e-3, 1e-2, 1e-1};
    const std::vector<LinearProbe> path = fit_path(codes.sparse, codes.y, options.c_grid, true);
    ASSERT_EQ(path.size(), 3u);
    for (const LinearProbe& probe : path) {
      options.c_grid = {probe.c};
      const LinearProbe alone = fit_logistic(codes.sparse, codes.y, options, 1);
      double size = 0;
      for (const double w : alone.weights) size = std::max(size, std::abs(w));
      for (size_t j = 0; j < alone.weights.size(); ++j)
        EXPECT_NEAR(probe.weights[j], alone.weights[j], .01 * size) << probe.c;
    }
  }
}

TEST(SparseTest, BadFeaturesAreErrors) {
  Codes codes(20, 10, 8);
  EXPECT_THROW(dense_columns(codes.sparse, {10}), Error);
  EXPECT_THROW(fit_path(codes.sparse, codes.y, {.1, .01}, true), Error);
  EXPECT_THROW(score(fit_columns(codes.sparse, codes.y, {0}, {}, 1),
                     sparse_of({codes.full.data(), 20, 9}, {})),
               Error);
  codes.sparse.codes.values[3] = NAN;
  EXPECT_THROW(fit_logistic(codes.sparse, codes.y, {}, 1), Error);
  EXPECT_THROW(rank_features(codes.sparse, codes.y), Error);
  EXPECT_THROW(rank_features(codes.sparse, std::vector<uint8_t>(20)), Error);
}

}  // namespace
}  // namespace assay::eval
