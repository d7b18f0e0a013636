// Texts of one document never stand on both sides of a fold.
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <numeric>
#include <set>

#include "eval/learners/attention_probe.h"
#include "eval/learners/probes.h"
#include "eval/learners/probes_text.h"
#include "eval/learners/sparse.h"
#include "kernels/base/error.h"
#include "kernels/base/random.h"

namespace assay::eval {
namespace {

/// Documents of `copies` near-copies each, whose labels are drawn for the document: nothing carries
/// over from one document to another, and all from a copy to its twin.
struct Copies {
  static constexpr int64_t kFeatures = 40;
  std::vector<float> values;
  std::vector<uint8_t> y;
  std::vector<int64_t> documents;

  Copies(int64_t count, int64_t copies, uint64_t seed) {
    Rng rng(seed);
    for (int64_t d = 0; d < count; ++d) {
      const uint8_t label = rng.below(2) == 1;
      std::vector<double> own;
      for (int64_t j = 0; j < kFeatures; ++j) own.push_back(rng.normal());
      for (int64_t c = 0; c < copies; ++c) {
        y.push_back(label);
        documents.push_back(1000 - 7 * d);
        for (const double value : own)
          values.push_back(static_cast<float>(value + .05 * rng.normal()));
      }
    }
  }
  ConstMatrix x() const { return {values.data(), std::ssize(y), kFeatures}; }
  /// Texts of one token.
  TextTokens tokens() const {
    TextTokens out;
    out.features = kFeatures;
    out.dense = values;
    out.start.clear();
    for (int64_t i = 0; i <= std::ssize(y); ++i) out.start.push_back(i);
    return out;
  }
  /// Each row a document of its own: the folds that leak.
  std::vector<int64_t> rows() const {
    std::vector<int64_t> all(y.size());
    std::iota(all.begin(), all.end(), int64_t{0});
    return all;
  }
};

TEST(FoldsTest, ADocumentHasOneFoldAndClassesAreSpread) {
  Rng rng(1);
  for (uint64_t seed = 0; seed < 20; ++seed) {
    std::vector<uint8_t> y;
    std::vector<int64_t> documents;
    for (int i = 0; i < 200; ++i) {
      y.push_back(rng.below(4) == 0);
      documents.push_back(static_cast<int64_t>(rng.below(80)));
    }
    const std::vector<int> fold = stratified_folds(y, documents, 5, seed);
    std::map<int64_t, std::set<int>> folds_of;
    int64_t positives[5] = {}, rows[5] = {};
    for (size_t i = 0; i < y.size(); ++i) {
      folds_of[documents[i]].insert(fold[i]);
      positives[fold[i]] += y[i];
      ++rows[fold[i]];
    }
    for (const auto& [document, own] : folds_of) EXPECT_EQ(own.size(), 1u) << document;
    const auto [low, high] = std::minmax_element(positives, positives + 5);
    EXPECT_LE(*high - *low, 4);
    for (const int64_t count : rows) EXPECT_NEAR(count, 40, 20);
  }
}

/// A class of few documents that hold the other class too: dealt second, they would all follow the
/// other class's deal.
TEST(FoldsTest, TwoDocumentsOfEachClassMakeFoldZeroTwoSided) {
  Rng rng(3);
  for (uint64_t seed = 0; seed < 300; ++seed) {
    std::vector<uint8_t> y;
    std::vector<int64_t> documents;
    const uint64_t scarce = 2 + rng.below(3);
    const uint8_t label = rng.below(2) == 1;
    for (int i = 0; i < 40; ++i) {  // as many rows of each class
      y.push_back(i < 20 ? label : 1 - label);
      documents.push_back(static_cast<int64_t>(i < 2 ? i : rng.below(i < 20 ? scarce : 12)));
    }
    const std::vector<int> fold = stratified_folds(y, documents, 5, seed);
    const std::vector<int> usable = two_sided_folds(y, fold, 5);
    ASSERT_FALSE(usable.empty()) << seed;
    EXPECT_EQ(usable.front(), 0) << seed;
  }
}

TEST(FoldsTest, TwoSidedFoldsAreTheDefinition) {
  const std::vector<uint8_t> y{0, 1, 0, 1, 0, 1, 1};
  EXPECT_EQ(two_sided_folds(y, std::vector<int>{0, 0, 1, 1, 2, 3, 1}, 4), (std::vector<int>{0, 1}));
  EXPECT_EQ(two_sided_folds(y, std::vector<int>{0, 1, 0, 1, 1, 1, 1}, 2), std::vector<int>())
      << "outside of fold 1 there is one class";
}

TEST(FoldsTest, RowsOfTheirOwnAreDealtInTurn) {
  const std::vector<uint8_t> y{0, 1, 0, 0, 1, 0, 1, 0, 0, 1, 0};
  std::vector<int64_t> documents(y.size());
  std::iota(documents.begin(), documents.end(), int64_t{50});
  const std::vector<int> fold = stratified_folds(y, documents, 3, 9);
  std::vector<int> expected(y.size());
  Rng rng(9);
  for (const uint8_t label : {0, 1}) {
    std::vector<size_t> rows;
    for (size_t i = 0; i < y.size(); ++i)
      if (y[i] == label) rows.push_back(i);
    rng.shuffle(std::span(rows));
    for (size_t i = 0; i < rows.size(); ++i) expected[rows[i]] = static_cast<int>(i % 3);
  }
  EXPECT_EQ(fold, expected);
}

TEST(FoldsTest, CIsChosenOnOtherDocuments) {
  const Copies copies(60, 4, 2);
  const std::vector<int64_t> rows = copies.rows();
  const auto curve = [&](const LinearProbe& probe) { return probe.cv_auroc; };
  // By rows a twin gives the label away; by document there is nothing to find.
  EXPECT_GT(curve(fit_logistic(copies.x(), copies.y, by_document(rows), 1)), .85);
  EXPECT_LT(curve(fit_logistic(copies.x(), copies.y, by_document(copies.documents), 1)), .7);
  EXPECT_LT(
      curve(fit_columns(copies.x(), copies.y, {0, 1, 2, 3}, by_document(copies.documents), 1)), .7);
  EXPECT_LT(curve(fit_logistic(sparse_of(copies.x(), copies.documents), copies.y, {}, 1)), .7);
  EXPECT_LT(curve(fit_pca_logistic(copies.x(), copies.y, 20, by_document(copies.documents), 1)),
            .7);
}

TEST(FoldsTest, WordsAreJudgedOnOtherDocuments) {
  // A word for each document.
  std::vector<std::string> texts;
  const Copies copies(60, 4, 3);
  for (const int64_t document : copies.documents)
    texts.push_back("word" + std::to_string(document));
  const std::vector<std::string_view> views(texts.begin(), texts.end());
  const std::vector<int64_t> rows = copies.rows();
  const auto cv = [&](std::span<const int64_t> documents) {
    return fit_tfidf_logistic(views, copies.y, by_document(documents), 1).linear().cv_auroc;
  };
  EXPECT_GT(cv(rows), .95);
  EXPECT_LT(cv(copies.documents), .7);
}

TEST(FoldsTest, AttentionChoosesCOnOtherDocuments) {
  // The smallest C is as good as any where nothing carries over.
  const Copies copies(60, 4, 4);
  const TextTokens tokens = copies.tokens();
  const std::vector<int64_t> rows = copies.rows();
  const double leaky = fit_attention(tokens, copies.y, rows, 1).c,
               sound = fit_attention(tokens, copies.y, copies.documents, 1).c;
  EXPECT_GT(leaky, sound);
}

TEST(FoldsTest, WithoutDocumentsNothingIsChosen) {
  const Copies copies(40, 2, 5);
  EXPECT_THROW(fit_logistic(copies.x(), copies.y, {}, 1), Error);
  LogisticOptions one;
  one.c_grid = {.1};
  EXPECT_NO_THROW(fit_logistic(copies.x(), copies.y, one, 1)) << "no folds, no documents";
  EXPECT_THROW(stratified_folds(copies.y, std::vector<int64_t>(3), 5, 1), Error);
}

TEST(FoldsTest, AClassOfOneDocumentTakesTheSmallestC) {
  Copies copies(30, 2, 6);
  for (size_t i = 0; i < copies.y.size(); ++i) copies.y[i] = i < 2;
  const LinearProbe probe = fit_logistic(copies.x(), copies.y, by_document(copies.documents), 1);
  EXPECT_EQ(probe.c, default_c_grid(Penalty::l2).front());
  EXPECT_EQ(probe.cv_auroc, 0);
  copies.y[1] = 0;
  EXPECT_EQ(fit_logistic(copies.x(), copies.y, by_document(copies.documents), 1).c, probe.c)
      << "one row is one document";
}

TEST(FoldsTest, AttentionOfAClassOfOneDocumentTakesTheSmallestC) {
  Copies copies(30, 2, 6);
  for (size_t i = 0; i < copies.y.size(); ++i) copies.y[i] = i < 2;
  EXPECT_EQ(fit_attention(copies.tokens(), copies.y, copies.documents, 1).c,
            default_c_grid(Penalty::l2).front());
}

}  // namespace
}  // namespace assay::eval
