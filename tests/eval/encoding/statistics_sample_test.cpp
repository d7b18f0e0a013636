#include "eval/encoding/statistics_sample.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <set>

#include "kernels/base/error.h"
#include "tests/eval/planted_data.h"

namespace assay::eval {
namespace {

const data::SplitRule kRule{0.4, 0.1, 3};

class StatisticsSampleTest : public ::testing::Test {
 protected:
  StatisticsSampleTest() : folder_("statistics_sample"), planted_(test::make_planted({})) {
    test::write_planted(planted_, folder_.path());
    dataset_ = std::make_unique<data::Dataset>(data::Dataset::open(folder_.path()));
  }

  /// Ordinary tokens of every document of a part.
  std::map<int64_t, int64_t> sizes(const std::vector<uint8_t>& parts, SamplePart part) const {
    std::map<int64_t, int64_t> size;
    for (int64_t r = 0; r < planted_.rows(); ++r)
      if (parts[r] == part) ++size[planted_.document[r]];
    return size;
  }
  /// The shard of a document's first ordinary row in the part; shards hold 3,000 rows.
  std::map<int64_t, int64_t> files(const std::vector<uint8_t>& parts, SamplePart part) const {
    std::map<int64_t, int64_t> file;
    for (int64_t r = 0; r < planted_.rows(); ++r)
      if (parts[r] == part) file.emplace(planted_.document[r], r / 3000);
    return file;
  }

  support::TemporaryFolder folder_;
  test::Planted planted_;
  std::unique_ptr<data::Dataset> dataset_;
};

TEST_F(StatisticsSampleTest, TrainSampleIsOfTrainDocumentsAndAboutAsLarge) {
  const StatisticsSample sample = sample_statistics(*dataset_, kRule, {});
  std::map<int64_t, int> part_of;
  for (int64_t r = 0; r < planted_.rows(); ++r) {
    if (planted_.special[r]) {
      EXPECT_EQ(sample.part[r], kNoPart);
      continue;
    }
    const auto [place, fresh] = part_of.emplace(planted_.document[r], sample.part[r]);
    EXPECT_EQ(place->second, sample.part[r]) << "a document lies in two parts";
    const data::Split split = data::split_of(planted_.document[r], kRule);
    EXPECT_EQ(sample.part[r] == kValidationPart, split == data::Split::validation);
    EXPECT_TRUE(sample.part[r] != kTrainPart || split == data::Split::train);
  }
  EXPECT_EQ(sample.validation.tokens, sample.validation.of);
  EXPECT_LT(sample.train.tokens, sample.train.of);
  EXPECT_NEAR(
      static_cast<double>(sample.train.tokens) / static_cast<double>(sample.validation.tokens), 1,
      0.35);
}

TEST_F(StatisticsSampleTest, ACapTakesWholeDocumentsAndTheSameShareOfEveryFile) {
  const StatisticsSample all = sample_statistics(*dataset_, kRule, {});
  const int64_t cap = all.validation.tokens / 4;
  const StatisticsSample sample = sample_statistics(*dataset_, kRule, {cap, 5});
  for (const auto& [part, taken, whole] :
       {std::tuple(kValidationPart, &sample.validation, &all.validation),
        std::tuple(kTrainPart, &sample.train, &all.train)}) {
    const auto before = sizes(all.part, part), after = sizes(sample.part, part);
    const auto file = files(all.part, part);
    int64_t longest = 0, tokens = 0;
    std::map<int64_t, double> of_file, taken_of_file;
    for (const auto& [document, size] : before) {
      longest = std::max(longest, size);
      of_file[file.at(document)] += static_cast<double>(size);
    }
    std::vector<int64_t> documents;
    for (const auto& [document, size] : after) {
      EXPECT_EQ(size, before.at(document)) << "a document was cut";
      tokens += size;
      documents.push_back(document);
      taken_of_file[file.at(document)] += static_cast<double>(size);
    }
    EXPECT_EQ(taken->documents, documents);
    EXPECT_EQ(taken->tokens, tokens);
    EXPECT_EQ(taken->of, whole->of);
    EXPECT_LE(tokens, cap);
    EXPECT_GT(tokens, cap - longest);
    ASSERT_GE(of_file.size(), 2u) << "the data have one file: the test tests nothing";
    const double share = static_cast<double>(cap) / static_cast<double>(whole->tokens);
    for (const auto& [f, size] : of_file)
      EXPECT_NEAR(taken_of_file[f], share * size, static_cast<double>(longest) + 1) << f;
  }
}

TEST_F(StatisticsSampleTest, ACapDoesNotTakeTheFirstDocuments) {
  const StatisticsSample all = sample_statistics(*dataset_, kRule, {});
  const StatisticsSample sample =
      sample_statistics(*dataset_, kRule, {all.validation.tokens / 4, 5});
  // Of 40 and more documents a file, a random quarter would be its first ones once in 10^9.
  const auto file = files(all.part, kValidationPart);
  std::map<int64_t, std::pair<size_t, size_t>> last;  // place of the last one kept, how many are
  std::map<int64_t, size_t> place;
  const std::set<int64_t> kept(sample.validation.documents.begin(),
                               sample.validation.documents.end());
  for (const int64_t document : all.validation.documents) {
    const size_t own = ++place[file.at(document)];
    if (kept.contains(document))
      last[file.at(document)] = {own, last[file.at(document)].second + 1};
  }
  for (const auto& [f, found] : last)
    EXPECT_GT(static_cast<double>(found.first), 1.5 * static_cast<double>(found.second)) << f;
}

TEST_F(StatisticsSampleTest, TheSeedDecidesAndNothingElse) {
  const auto with = [&](uint64_t seed) {
    return sample_statistics(*dataset_, kRule, {300, seed}).validation.documents;
  };
  EXPECT_EQ(with(5), with(5));
  EXPECT_NE(with(5), with(6));
}

TEST_F(StatisticsSampleTest, OneDocumentStaysUnderTheSmallestCap) {
  const StatisticsSample sample = sample_statistics(*dataset_, kRule, {1, 5});
  EXPECT_EQ(sample.validation.documents.size(), 1u);
  EXPECT_EQ(sample.train.documents.size(), 1u);
  EXPECT_GT(sample.validation.tokens, 0);
}

TEST_F(StatisticsSampleTest, AnEmptyValidationSplitIsAnError) {
  EXPECT_THROW(sample_statistics(*dataset_, {0, 0, 0}, {}), Error);
}

}  // namespace
}  // namespace assay::eval
