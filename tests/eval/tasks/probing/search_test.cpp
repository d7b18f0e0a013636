// The searched arms: what they may look at, and that they find what was planted.
#include "eval/tasks/probing/search.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <numeric>
#include <set>

#include "eval/tasks/probing/readings.h"
#include "kernels/base/error.h"
#include "kernels/base/random.h"
#include "tests/eval/eval_session.h"

namespace assay::eval::probing {
namespace {

/// Texts by number, in three poolings.
struct Planted {
  static constexpr int64_t kFeatures = 30;
  std::vector<std::vector<float>> values[3];
  ProbingCell cell;

  /// Text t has label t % 2. `value(pooling, label, feature, rng)`.
  template <class Value>
  Planted(const Value& value, uint64_t seed) {
    Rng rng(seed);
    for (int64_t t = 0; t < 400; ++t) {
      const auto label = static_cast<uint8_t>(t % 2);
      for (int pooling = 0; pooling < 3; ++pooling) {
        auto& row = values[pooling].emplace_back();
        for (int64_t j = 0; j < kFeatures; ++j) row.push_back(value(pooling, label, j, rng));
      }
      LabelledTexts& part = t < 200 ? cell.train : t < 300 ? cell.id : cell.ood;
      part.texts.push_back(t);
      part.labels.push_back(label);
    }
  }
  SparseFeatures gather(const std::vector<int64_t>& texts, size_t pooling) const {
    std::vector<float> full;
    for (const int64_t t : texts)
      full.insert(full.end(), values[pooling][t].begin(), values[pooling][t].end());
    return sparse_of(ConstMatrix{full.data(), std::ssize(texts), kFeatures}, texts);
  }
  Gather gather() const {
    return [this](const ProbingCell& c, size_t pooling) {
      return SparseCell{gather(c.train.texts, pooling), gather(c.id.texts, pooling),
                        gather(c.ood.texts, pooling)};
    };
  }
  SearchedArm searched() const {
    return searched_arm("searched", cell, inner_cells(cell, cell.train.texts, 3), gather(), {1, 4},
                        5);
  }
};

float noise(Rng& rng) { return static_cast<float>(rng.normal()); }

TEST(SearchTest, FindsTheOneFeatureThatTells) {
  const Planted planted(
      [](int, uint8_t label, int64_t j, Rng& rng) {
        return (j == 7 ? 6.0f * static_cast<float>(label) : 0) + noise(rng);
      },
      1);
  const SearchedArm arm = planted.searched();
  EXPECT_EQ(arm.choice.k, 1);
  EXPECT_GT(arm.score.ood, .9);
}

TEST(SearchTest, FindsThePoolingThatTells) {
  for (const int best : {1, 2}) {
    const Planted planted(
        [&](int pooling, uint8_t label, int64_t, Rng& rng) {
          return (pooling == best ? .8f * static_cast<float>(label) : 0) + noise(rng);
        },
        2);
    const SearchedArm arm = planted.searched();
    EXPECT_EQ(arm.choice.pooling, static_cast<size_t>(best));
    EXPECT_EQ(arm.choice.k, std::nullopt) << "every feature tells a little";
    EXPECT_GT(arm.score.id, .95);
  }
}

TEST(SearchTest, FindsTheReadingThatTells) {
  // What is on says the class; how strongly says nothing, and shouts.
  const Planted planted(
      [](int, uint8_t label, int64_t, Rng& rng) {
        const bool on = rng.uniform() < (label ? .45 : .25);
        return on ? static_cast<float>(std::exp(2.5 * rng.normal())) : 0;
      },
      3);
  const SearchedArm arm = planted.searched();
  EXPECT_STREQ(kReadings[arm.choice.reading].name, "binary");
  const auto by = [&](const char* how) {
    return read_arm("", planted.cell, planted.gather()(planted.cell, 0), reading(how), {}, 5).ood;
  };
  EXPECT_GT(by("binary"), by("raw") + .1);
}

TEST(SearchTest, TheArmIsTheFixedOneOfItsChoice) {
  const Planted planted(
      [](int, uint8_t label, int64_t j, Rng& rng) {
        return static_cast<float>(label) * (j < 3 ? 1.0f : 0.1f) + noise(rng);
      },
      4);
  const SearchedArm arm = planted.searched();
  const ArmScore fixed =
      read_arm("searched", planted.cell, planted.gather()(planted.cell, arm.choice.pooling),
               kReadings[arm.choice.reading], arm.choice.k, 5);
  EXPECT_EQ(arm.score.id, fixed.id);
  EXPECT_EQ(arm.score.ood, fixed.ood);
}

TEST(SearchTest, TestsAreNeverLookedAt) {
  const auto value = [](int, uint8_t label, int64_t j, Rng& rng) {
    return (j < 2 ? .7f * static_cast<float>(label) : 0) + noise(rng);
  };
  Planted planted(value, 5);
  const SearchChoice before = planted.searched().choice;
  // Other tests, on which the 20th feature alone says everything, and only where it is last.
  for (size_t t = 200; t < 400; ++t)
    for (auto& pooling : planted.values) {
      std::fill(pooling[t].begin(), pooling[t].end(), 0.0f);
      pooling[t][20] = static_cast<float>(t % 2);
    }
  const SearchChoice after = planted.searched().choice;
  EXPECT_EQ(before.k, after.k);
  EXPECT_EQ(before.pooling, after.pooling);
  EXPECT_EQ(before.reading, after.reading);
  EXPECT_EQ(before.inner_auroc, after.inner_auroc);
}

/// Three inner cells, one feature. Under the mean and under the maximum the cells' AUROCs are the
/// same numbers in another order, whose sums differ in the last bit.
TEST(SearchTest, TiesAreNotDecidedByRounding) {
  const double auroc[2][3] = {{.7, .8, .9}, {.9, .8, .7}};
  ASSERT_LT(auroc[0][0] + auroc[0][1] + auroc[0][2], auroc[1][0] + auroc[1][1] + auroc[1][2]);
  const std::vector<uint8_t> labels{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1};
  const std::vector<int64_t> texts{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10};
  std::vector<ProbingCell> inner;
  for (int64_t run = 0; run < 3; ++run)
    inner.push_back({0, run, {texts, labels}, {texts, labels}, {texts, labels}});
  const Gather gather = [&](const ProbingCell& cell, size_t pooling) {
    const auto rows = [&](double above) {  // the positive stands above this share of the others
      std::vector<float> x;
      for (int i = 0; i < 10; ++i) x.push_back(static_cast<float>(i + 1));
      x.push_back(static_cast<float>(10 * above + .5));
      return sparse_of(ConstMatrix{x.data(), 11, 1}, texts);
    };
    return SparseCell{rows(1), rows(pooling < 2 ? auroc[pooling][cell.run] : .1), rows(1)};
  };
  const SearchChoice choice = searched_arm("", inner[0], inner, gather, {1}, 5).choice;
  EXPECT_NEAR(choice.inner_auroc, .8, 1e-12);
  EXPECT_STREQ(kPoolings[choice.pooling], "mean") << "what was tried first";
  EXPECT_EQ(choice.k, 1) << "the smaller size";
}

TEST(SearchTest, MeaninglessLabelsGiveChance) {
  double sum = 0;
  for (uint64_t seed = 0; seed < 10; ++seed)
    sum += Planted([](int, uint8_t, int64_t, Rng& rng) { return noise(rng); }, 100 + seed)
               .searched()
               .score.ood /
           10;
  EXPECT_NEAR(sum, .5, .06);
}

TEST(SearchTest, TheInnerCutIsByDocument) {
  ProbingCell cell;
  std::vector<int64_t> documents;
  Rng rng(6);
  for (int64_t t = 0; t < 300; ++t) {
    cell.train.texts.push_back(t);
    cell.train.labels.push_back(t % 2);
    documents.push_back(static_cast<int64_t>(rng.below(90)));
  }
  std::vector<int64_t> held_out;
  for (const ProbingCell& inner : inner_cells(cell, documents, 7)) {
    std::set<int64_t> inside;
    for (const int64_t t : inner.train.texts) inside.insert(documents[t]);
    for (const int64_t t : inner.id.texts) EXPECT_EQ(inside.count(documents[t]), 0u) << t;
    EXPECT_EQ(inner.train.texts.size() + inner.id.texts.size(), 300u);
    EXPECT_NEAR(static_cast<double>(inner.id.texts.size()), 60, 12);
    held_out.insert(held_out.end(), inner.id.texts.begin(), inner.id.texts.end());
  }
  std::sort(held_out.begin(), held_out.end());
  EXPECT_EQ(held_out, cell.train.texts) << "each text is held out once";
  EXPECT_THROW(inner_cells(cell, std::vector<int64_t>(300, 5), 7), Error);
}

TEST(SearchTest, AnInnerCellOfOnePositiveStandsLast) {
  ProbingCell cell;
  std::vector<int64_t> documents;
  for (int64_t t = 0; t < 20; ++t) {  // nine positives of one document, one of another
    cell.train.texts.push_back(t);
    cell.train.labels.push_back(t < 10);
    documents.push_back(t < 9 ? 0 : t);
  }
  for (uint64_t seed = 0; seed < 20; ++seed) {
    const std::vector<ProbingCell> cells = inner_cells(cell, documents, seed);
    ASSERT_EQ(cells.size(), 2u);
    for (const size_t i : {0, 1}) {
      const std::vector<uint8_t>& labels = cells[i].train.labels;
      EXPECT_EQ(std::count(labels.begin(), labels.end(), 1), i ? 1 : 9) << seed;
    }
  }
}

/// Each class has one text outside of a document of nine, and the folds put the lone text of one
/// beside the nine of the other: every inner cell trains on a single text of a class.
TEST(SearchTest, ASingleTextOfAClassIsNoFailure) {
  const Planted planted([](int, int label, int64_t, Rng& rng) { return noise(rng) + label; }, 4);
  int both_lone = 0;
  for (uint64_t seed = 0; seed < 20; ++seed) {
    ProbingCell cell;
    std::vector<int64_t> documents;
    for (int64_t t = 0; t < 20; ++t) {
      cell.train.texts.push_back(t);
      cell.train.labels.push_back(static_cast<uint8_t>(t % 2));
      documents.push_back(t < 2 ? t : 2 + t % 2);
    }
    const std::vector<ProbingCell> inner = inner_cells(cell, documents, seed);
    const std::vector<uint8_t>& labels = inner.front().train.labels;
    const auto positives = std::count(labels.begin(), labels.end(), 1);
    both_lone += positives == 1 || positives + 1 == std::ssize(labels);
    const SparseCell own = planted.gather()(inner.front(), 0);
    const auto in_rows = [](const SparseFeatures& x) {
      std::vector<int64_t> all(static_cast<size_t>(x.cols));
      std::iota(all.begin(), all.end(), 0);
      return Features{x.rows(), x.cols, dense_columns(x, all), x.documents};
    };
    const CellFeatures dense{in_rows(own.train), in_rows(own.id), in_rows(own.ood)};
    EXPECT_NO_THROW(dense_arms(inner.front(), dense, OodConfig{}, seed));
    EXPECT_NO_THROW(latent_arms(inner.front(), own, OodConfig{}, seed));
    EXPECT_NO_THROW(searched_arm("", inner.front(), inner, planted.gather(), {1, 4}, seed));
  }
  EXPECT_GT(both_lone, 0);
}

TEST(ReadingsTest, AreTheDefinitions) {
  const std::vector<float> full{4, -9, 0, 0.25f};
  const SparseFeatures x = sparse_of(ConstMatrix{full.data(), 2, 2}, {});
  const auto read_as = [&](const char* how) {
    return dense_columns(read(x, reading(how)), {0, 1});
  };
  EXPECT_EQ(read_as("raw"), full);
  EXPECT_EQ(read_as("z_scored"), full);
  EXPECT_EQ(read_as("sqrt"), (std::vector<float>{2, -3, 0, 0.5f}));
  EXPECT_EQ(read_as("binary"), (std::vector<float>{1, 0, 0, 1}));
  EXPECT_TRUE(options_of(reading("z_scored"), x).standardise);
  const LogisticOptions raw = options_of(reading("raw"), x);
  EXPECT_FALSE(raw.standardise);
  EXPECT_NEAR(raw.c_grid[0] * mean_variance(x), default_c_grid(Penalty::l2)[0], 1e-12);
  EXPECT_THROW(reading("log"), Error);
}

}  // namespace
}  // namespace assay::eval::probing
