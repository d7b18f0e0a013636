#include "data/stream.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <set>

#include "tests/data/shard_support.h"

namespace assay::data {
namespace {

using ::testing::AllOf;
using testing::error_of;
using ::testing::HasSubstr;
using testing::options_for;
using testing::Rows;
using testing::TemporaryFolder;

constexpr int64_t kRows = 2345, kDims = 6;

/// 38 chunks of 64 rows over three shards.
class StreamTest : public ::testing::Test {
 protected:
  void SetUp() override {
    testing::write(options_for(folder_.path(), kDims, DType::f32), rows_);
    dataset_ = std::make_unique<Dataset>(Dataset::open(folder_.path()));
    options_.batch = 48;
    options_.lanes = 6;
    options_.window_chunks = 4;
    options_.seed = 11;
  }
  std::vector<float> next(ActivationStream& stream, int64_t rows) const {
    std::vector<float> batch(static_cast<size_t>(rows * kDims));
    stream.next(Matrix(batch.data(), rows, kDims));
    return batch;
  }
  /// The global number of each row of the last batch.
  std::vector<int64_t> numbers(const ActivationStream& stream, int64_t rows) const {
    std::vector<int64_t> found;
    for (int64_t i = 0; i < rows; ++i) {
      const RowOrigin origin = stream.origin(i);
      const size_t at = origin.file.find("shard-0000");
      found.push_back(1000 * (origin.file[at + 10] - '0') + origin.row);
    }
    return found;
  }
  bool eligible(int64_t row) const {
    return row % 10 != 0 && split_of(row / 20, options_.rule) == Split::train;
  }

  TemporaryFolder folder_;
  Rows rows_{kRows, kDims};
  std::unique_ptr<Dataset> dataset_;
  StreamOptions options_;
};

TEST_F(StreamTest, EveryEligibleRowLeavesOncePerEpochOfItsLane) {
  ActivationStream stream(*dataset_, options_);
  int64_t expected = 0;
  for (int64_t row = 0; row < kRows; ++row) expected += eligible(row);
  EXPECT_EQ(stream.rows_per_epoch(), expected);

  // Chunks with eligible rows, numbered in order, belong to lane number mod 6.
  std::vector<std::multiset<int64_t>> lanes(6);
  int64_t number = 0;
  for (const ChunkInfo& chunk : dataset_->chunks()) {
    std::vector<int64_t> held;
    for (int64_t row = chunk.first; row < chunk.first + chunk.rows; ++row) {
      if (eligible(row)) held.push_back(row);
    }
    if (!held.empty()) lanes[static_cast<size_t>(number++ % 6)].insert(held.begin(), held.end());
  }
  std::vector<std::vector<int64_t>> seen(6);
  for (int batch = 0; batch < 160; ++batch) {
    const std::vector<float> x = next(stream, 48);
    const std::vector<int64_t> from = numbers(stream, 48);
    for (int64_t i = 0; i < 48; ++i) {
      const int64_t row = from[static_cast<size_t>(i)];
      seen[static_cast<size_t>(i % 6)].push_back(row);
      for (int64_t j = 0; j < kDims; ++j) {
        ASSERT_EQ(x[static_cast<size_t>(i * kDims + j)],
                  rows_.x[static_cast<size_t>(row * kDims + j)]);
      }
    }
  }
  for (size_t lane = 0; lane < 6; ++lane) {
    const auto size = static_cast<int64_t>(lanes[lane].size());
    ASSERT_GT(static_cast<int64_t>(seen[lane].size()), 3 * size);
    std::vector<std::vector<int64_t>> epochs;
    for (int64_t epoch = 0; epoch < 3; ++epoch) {
      epochs.emplace_back(seen[lane].begin() + epoch * size,
                          seen[lane].begin() + (epoch + 1) * size);
      EXPECT_EQ(std::multiset<int64_t>(epochs.back().begin(), epochs.back().end()), lanes[lane]);
    }
    EXPECT_NE(epochs[0], epochs[1]);
  }
}

TEST_F(StreamTest, ReadersAndWindowsTimingNeverChangeTheRows) {
  options_.readers = 1;
  ActivationStream one(*dataset_, options_);
  options_.readers = 5;
  ActivationStream five(*dataset_, options_);
  for (int batch = 0; batch < 150; ++batch) ASSERT_EQ(next(one, 48), next(five, 48)) << batch;
  EXPECT_EQ(one.position(), five.position());
}

TEST_F(StreamTest, RanksShareTheSameGlobalBatch) {
  ActivationStream whole(*dataset_, options_);
  std::vector<std::unique_ptr<ActivationStream>> ranks;
  for (int rank = 0; rank < 3; ++rank) {
    StreamOptions options = options_;
    options.rank = rank;
    options.ranks = 3;
    ranks.push_back(std::make_unique<ActivationStream>(*dataset_, options));
  }
  for (int batch = 0; batch < 60; ++batch) {
    const std::vector<float> all = next(whole, 48);
    for (size_t rank = 0; rank < 3; ++rank) {
      const std::vector<float> part = next(*ranks[rank], 16);
      for (size_t i = 0; i < 16; ++i) {
        ASSERT_TRUE(std::equal(part.begin() + static_cast<int64_t>(i) * kDims,
                               part.begin() + static_cast<int64_t>(i + 1) * kDims,
                               all.begin() + static_cast<int64_t>(3 * i + rank) * kDims));
      }
      ASSERT_EQ(ranks[rank]->position(), whole.position());
    }
  }
}

TEST_F(StreamTest, SeekRestoresExactlyAtEveryBatch) {
  ActivationStream stream(*dataset_, options_);
  std::vector<StreamPosition> positions;
  std::vector<std::vector<float>> batches;
  for (int batch = 0; batch < 90; ++batch) {
    positions.push_back(stream.position());
    batches.push_back(next(stream, 48));
  }
  options_.readers = 3;
  ActivationStream other(*dataset_, options_);
  for (int batch = 89; batch >= 0; batch -= 7) {
    other.seek(positions[static_cast<size_t>(batch)]);
    EXPECT_EQ(other.position(), positions[static_cast<size_t>(batch)]);
    ASSERT_EQ(next(other, 48), batches[static_cast<size_t>(batch)]) << batch;
    if (batch + 1 < 90) {
      ASSERT_EQ(next(other, 48), batches[static_cast<size_t>(batch + 1)]) << batch;
    }
  }
}

TEST_F(StreamTest, SeedsGiveOtherOrders) {
  ActivationStream one(*dataset_, options_);
  options_.seed = 12;
  ActivationStream two(*dataset_, options_);
  EXPECT_NE(next(one, 48), next(two, 48));
}

TEST_F(StreamTest, SplitsAndSpecialRowsAreFiltered) {
  options_.split = Split::validation;
  options_.rule = {0.4, 0.1, 5};
  options_.include_special = true;
  options_.lanes = 2;
  ActivationStream stream(*dataset_, options_);
  bool special = false;
  for (int batch = 0; batch < 30; ++batch) {
    next(stream, 48);
    for (const int64_t row : numbers(stream, 48)) {
      EXPECT_EQ(split_of(row / 20, options_.rule), Split::validation);
      special = special || row % 10 == 0;
    }
  }
  EXPECT_TRUE(special);
}

TEST_F(StreamTest, UnusableOptionsSayWhatToDo) {
  const auto error = [&](auto change) {
    StreamOptions options = options_;
    change(options);
    return error_of([&] { ActivationStream stream(*dataset_, options); });
  };
  EXPECT_THAT(error([](StreamOptions& o) { o.lanes = 48; }),
              HasSubstr("set data.lanes to 38 or fewer"));
  EXPECT_THAT(error([](StreamOptions& o) { o.batch = 50; }),
              AllOf(HasSubstr("50"), HasSubstr("data.lanes = 6")));
  EXPECT_THAT(error([](StreamOptions& o) { o.ranks = 4; }), HasSubstr("must divide"));
  EXPECT_THAT(error([](StreamOptions& o) { o.hook = "mlp"; }), HasSubstr("no hook 'mlp'"));
  EXPECT_THAT(error([](StreamOptions& o) {
                o.rule = {0, 1, 0};
              }),
              HasSubstr("no rows in the train split"));
  ActivationStream stream(*dataset_, options_);
  StreamPosition position = stream.position();
  position[2].offset = 100000;
  EXPECT_THAT(error_of([&] { stream.seek(position); }), HasSubstr("does not belong"));
  position.pop_back();
  EXPECT_THAT(error_of([&] { stream.seek(position); }), HasSubstr("does not belong"));
}

TEST_F(StreamTest, DamageMetByAReaderIsThrownByNext) {
  const auto file = folder_.path() / "shard-00001.h5";
  std::string bytes = testing::bytes_of(file);
  const std::string needle(reinterpret_cast<const char*>(rows_.x.data() + 1500 * kDims), 24);
  const size_t at = bytes.find(needle);
  ASSERT_NE(at, std::string::npos);
  bytes[at] = static_cast<char>(bytes[at] ^ 1);
  testing::set_bytes(file, bytes);
  const Dataset damaged = Dataset::open(folder_.path());
  options_.readers = 2;
  ActivationStream stream(damaged, options_);
  std::string error;
  StreamPosition before;
  for (int batch = 0; batch < 60 && error.empty(); ++batch) {
    before = stream.position();
    error = error_of([&] { next(stream, 48); });
  }
  EXPECT_THAT(error, AllOf(HasSubstr("shard-00001.h5"), HasSubstr("corrupt chunk")));
  EXPECT_EQ(stream.position(), before);
}

TEST_F(StreamTest, StopsQuicklyWhileReading) {
  options_.readers = 4;
  for (int i = 0; i < 50; ++i) ActivationStream stream(*dataset_, options_);
}

/// 96 texts of 64 rows, a chunk each, as long contexts of wide rows are.
class LongTexts : public ::testing::Test {
 protected:
  static constexpr int64_t kTexts = 96, kEach = 64, kBatch = 64, kShard = 15 * kEach;

  void SetUp() override {
    Rows rows(kTexts * kEach, kDims);
    for (int64_t i = 0; i < kTexts * kEach; ++i) rows.document[static_cast<size_t>(i)] = i / kEach;
    ShardWriterOptions shards = options_for(folder_.path(), kDims, DType::f32);
    shards.rows_per_shard = kShard;
    testing::write(shards, rows);
    dataset_ = std::make_unique<Dataset>(Dataset::open(folder_.path()));
    options_.batch = kBatch;
    options_.lanes = 4;
    options_.window_chunks = 2;
    options_.rule = {0, 0, 0};
    options_.include_special = true;
  }
  /// The documents of each batch.
  std::vector<std::set<int64_t>> documents(int64_t batches) const {
    ActivationStream stream(*dataset_, options_);
    std::vector<std::set<int64_t>> found(static_cast<size_t>(batches));
    std::vector<float> x(kBatch * kDims);
    for (std::set<int64_t>& batch : found) {
      stream.next(Matrix(x.data(), kBatch, kDims));
      for (int64_t i = 0; i < kBatch; ++i) {
        const RowOrigin from = stream.origin(i);
        const size_t at = from.file.find("shard-0000");
        const int64_t shard = from.file[at + 10] - '0';
        batch.insert((kShard * shard + from.row) / kEach);
      }
    }
    return found;
  }

  TemporaryFolder folder_;
  std::unique_ptr<Dataset> dataset_;
  StreamOptions options_;
};

/// The mean number of documents that two batches so far apart share.
double shared(const std::vector<std::set<int64_t>>& batches, size_t apart) {
  double sum = 0;
  for (size_t i = 0; i + apart < batches.size(); ++i) {
    for (const int64_t document : batches[i]) sum += batches[i + apart].count(document);
  }
  return sum / static_cast<double>(batches.size() - apart);
}

TEST_F(LongTexts, WindowsOfAFewChunksMixFewDocuments) {
  const auto batches = documents(90);
  for (const auto& batch : batches) EXPECT_LE(batch.size(), 3 * 8);
  ActivationStream stream(*dataset_, options_);
  EXPECT_EQ(stream.mixing().window_chunks, 2);
  EXPECT_EQ(stream.mixing().documents, 8);
}

TEST_F(LongTexts, WindowsGrowUntilTheyMixTheDocumentsAskedFor) {
  const double narrow = shared(documents(90), 1);
  options_.mix_documents = 32;
  ActivationStream stream(*dataset_, options_);
  const Mixing mixing = stream.mixing();
  EXPECT_GE(mixing.documents, 32);
  EXPECT_GT(mixing.window_chunks, 2);
  const auto batches = documents(110);
  double mean = 0;
  for (const auto& batch : batches) mean += static_cast<double>(batch.size()) / 110;
  EXPECT_NEAR(mean, mixing.batch_documents, 0.25 * mixing.batch_documents);
  EXPECT_GT(mean, 20);
  EXPECT_GT(narrow, 5);  // nearly all 8 in nearly every batch
  // Staggered: what two batches share falls step by step, not all at once.
  EXPECT_GT(shared(batches, 2), shared(batches, 20));
  // Every row still leaves once an epoch: as many documents as there are come by.
  std::set<int64_t> all;
  for (const auto& batch : batches) all.insert(batch.begin(), batch.end());
  EXPECT_EQ(std::ssize(all), kTexts);
}

TEST_F(LongTexts, PositionsOfStaggeredWindowsAreExact) {
  options_.mix_documents = 32;
  ActivationStream stream(*dataset_, options_);
  std::vector<float> x(kBatch * kDims), again(x.size());
  for (int batch = 0; batch < 250; ++batch) {  // beyond two epochs
    const StreamPosition before = stream.position();
    stream.next(Matrix(x.data(), kBatch, kDims));
    if (batch % 7 != 0) continue;
    ActivationStream other(*dataset_, options_);
    other.seek(before);
    other.next(Matrix(again.data(), kBatch, kDims));
    ASSERT_EQ(x, again) << batch;
    ASSERT_EQ(other.position(), stream.position());
  }
}

TEST_F(LongTexts, ShortTextsKeepTheirOrder) {
  options_.mix_documents = 8;  // what two chunks a lane hold already
  ActivationStream same(*dataset_, options_);
  options_.mix_documents = 0;
  ActivationStream plain(*dataset_, options_);
  std::vector<float> x(kBatch * kDims), y(x.size());
  for (int batch = 0; batch < 120; ++batch) {
    same.next(Matrix(x.data(), kBatch, kDims));
    plain.next(Matrix(y.data(), kBatch, kDims));
    ASSERT_EQ(x, y) << batch;
  }
}

}  // namespace
}  // namespace assay::data
