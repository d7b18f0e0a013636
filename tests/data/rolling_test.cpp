// The rolling cache: every row once and in an order of its own, whatever the timing; limits, kills
// and ends.
#include "data/rolling.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <map>
#include <thread>

#include "data/stream.h"
#include "tests/data/shard_support.h"

namespace assay::data {
namespace {

using ::testing::AllOf;
using testing::error_of;
using ::testing::HasSubstr;
using testing::options_for;
using testing::Rows;
using testing::TemporaryFolder;

constexpr int64_t kDims = 6, kRows = 5300;  // five shards of 1000 rows and one of 300

class RollingTest : public ::testing::Test {
 protected:
  ShardWriterOptions writer(int64_t shards = 3) const {
    ShardWriterOptions options = options_for(folder_.path() / "cache", kDims, DType::f32);
    options.disk_limit = shards * (1000 * (kDims * 4 + 40) + (256 << 10));
    return options;
  }
  /// Writes rows [from, kRows) in small blocks.
  void produce(const ShardWriterOptions& options) const {
    ShardWriter out(options);
    for (int64_t row = out.resume_rows(); row < kRows; row += 170) {
      out.append(rows_.block(row, std::min<int64_t>(170, kRows - row)));
    }
    out.finish();
  }
  StreamOptions reader() const {
    StreamOptions options;
    options.batch = 30;
    options.lanes = 5;
    options.window_chunks = 2;
    options.seed = 4;
    options.rule = {0, 0, 0};
    return options;
  }
  static std::vector<float> next(ActivationStream& stream) {
    std::vector<float> batch(30 * kDims);
    stream.next(Matrix(batch.data(), 30, kDims));
    return batch;
  }
  static int64_t number(const RowOrigin& from) {
    const size_t at = from.file.find("shard-0000");
    return 1000 * (from.file[at + 10] - '0') + from.row;
  }
  std::filesystem::path cache() const { return folder_.path() / "cache"; }

  TemporaryFolder folder_;
  Rows rows_{kRows, kDims};
};

TEST_F(RollingTest, EveryRowLeavesOnceAndTheEndIsAnError) {
  std::thread producer([&] { produce(writer()); });
  const Sources sources = Sources::open_rolling(cache(), 20);
  ActivationStream stream(sources, reader());
  std::map<int64_t, int> seen;
  std::string end;
  int64_t most = 0;
  for (int batch = 0; end.empty() && batch < 400; ++batch) {
    end = error_of([&] {
      const std::vector<float> x = next(stream);
      for (int64_t i = 0; i < 30; ++i) {
        const int64_t row = number(stream.origin(i));
        ++seen[row];
        ASSERT_EQ(x[static_cast<size_t>(i * kDims)], rows_.x[static_cast<size_t>(row * kDims)]);
      }
    });
    if (stream.can_release()) stream.release();
    int64_t bytes = 0;
    for (const auto& entry : std::filesystem::directory_iterator(cache())) {
      std::error_code gone;
      const auto size = std::filesystem::file_size(entry.path(), gone);
      if (!gone && entry.path().filename().string().rfind("shard-", 0) == 0)
        bytes += static_cast<int64_t>(size);
    }
    most = std::max(most, bytes);
  }
  producer.join();
  EXPECT_THAT(end,
              AllOf(HasSubstr("ended after 6 shards with 5300 rows"), HasSubstr("fewer steps")));
  EXPECT_LE(most, writer().disk_limit);
  for (const auto& [row, times] : seen) EXPECT_EQ(times, 1) << row;
  EXPECT_GT(seen.size(),
            4770u - 200);  // a tenth is special; what fills no whole batch stays behind
  EXPECT_FALSE(std::filesystem::exists(cache() / "shard-00003.h5"));
}

TEST_F(RollingTest, AHarvesterGoesOnWhileTheTrainerReleases) {
  for (int round = 0; round < 8; ++round) {
    std::filesystem::remove_all(cache());
    {
      ShardWriter killed(writer(100));
      killed.append(rows_.block(0, 5000));
    }
    RollingCache trainer(cache(), 1);
    std::thread releasing([&] {
      for (int64_t shards = 1; shards <= 5; ++shards) {
        std::this_thread::sleep_for(std::chrono::milliseconds(round));
        trainer.release(shards);
      }
    });
    std::string failure;
    for (bool last = false; !last && failure.empty();) {
      last = trainer.released() == 5;
      failure = error_of([&] { EXPECT_EQ(ShardWriter(writer(100)).resume_rows(), 5000); });
    }
    releasing.join();
    EXPECT_EQ(failure, "");
  }
}

TEST_F(RollingTest, TimingReadersAndSeekNeverChangeTheRows) {
  std::vector<std::vector<float>> batches;
  StreamPosition middle;
  {
    produce(writer(100));  // all at once, nothing released
    const Sources sources = Sources::open_rolling(cache(), 1);
    ActivationStream stream(sources, reader());
    for (int batch = 0; batch < 140; ++batch) {
      if (batch == 77) middle = stream.position();
      batches.push_back(next(stream));
    }
    stream.seek(middle);
    EXPECT_EQ(next(stream), batches[77]);
  }
  std::filesystem::remove_all(cache());
  std::thread producer([&] { produce(writer()); });
  const Sources sources = Sources::open_rolling(cache(), 20);
  StreamOptions options = reader();
  options.readers = 3;
  ActivationStream stream(sources, options);
  for (size_t batch = 0; batch < 77; ++batch) {
    ASSERT_EQ(next(stream), batches[batch]) << batch;
    if (batch % 20 == 0) stream.release();
  }
  EXPECT_EQ(stream.position(), middle);
  stream.release();
  ActivationStream resumed(sources, reader());
  resumed.seek(middle);
  for (size_t batch = 77; batch < 140; ++batch) {
    ASSERT_EQ(next(resumed), batches[batch]) << batch;
    if (batch % 20 == 0) resumed.release();
  }
  producer.join();
}

TEST_F(RollingTest, AnInterruptedHarvestGoesOnBehindReleasedShards) {
  std::string whole;
  {
    ShardWriter out(writer(100));
    out.append(rows_.block(0, 3400));  // three shards; the fourth is cut off
  }
  {
    RollingCache cache_now(cache(), 1);
    cache_now.release(2);
  }
  EXPECT_FALSE(std::filesystem::exists(cache() / "shard-00001.h5"));
  {
    ShardWriter out(writer(100));
    EXPECT_EQ(out.resume_rows(), 3000);
    out.append(rows_.block(3000, kRows - 3000));
    out.finish();
  }
  RollingCache finished(cache(), 1);
  ASSERT_TRUE(finished.end().has_value());
  EXPECT_EQ(finished.end()->shards, 6);
  EXPECT_EQ(finished.end()->rows, kRows);
  EXPECT_EQ(finished.info().model, "a model");
  EXPECT_THAT(error_of([&] { ShardWriter again(writer(100)); }), HasSubstr("finished"));
}

TEST_F(RollingTest, FaultsAreNamed) {
  EXPECT_THAT(error_of([&] { produce(writer(2)); }),
              AllOf(HasSubstr("three shards"), HasSubstr("raise the limit")));
  EXPECT_THAT(error_of([&] { Sources::open_rolling(folder_.path() / "none", 1); }),
              HasSubstr("is the harvester running"));
  {
    ShardWriter out(writer(100));
    out.append(rows_.block(0, 2100));
  }
  {
    const Sources sources = Sources::open_rolling(cache(), 4);
    StreamOptions options = reader();
    std::atomic<int> asked = 0, delivered = 0, read = 0;
    ActivationStream stream(sources, options);
    EXPECT_THAT(error_of([&] {
                  for (int batch = 0; batch < 200; ++batch, ++delivered) next(stream);
                }),
                AllOf(HasSubstr("shard 2 did not come in 4 s"), HasSubstr("all shards from 0 on")));
    options.interrupted = [&] { return read == delivered && ++asked > 2; };
    ActivationStream stopped(sources, options);
    const auto drain = [&] {
      for (int batch = 0; batch < 200; ++batch, ++read) next(stopped);
    };
    EXPECT_THROW(drain(), Interrupted);
    EXPECT_GE(stopped.position()[0].epoch, 1);
    stopped.release();
    ActivationStream behind(sources, reader());  // at shard 0, which is gone
    EXPECT_THAT(error_of([&] { next(behind); }), HasSubstr("shards below 1 were released"));
    options.ranks = 5;
    EXPECT_THAT(error_of([&] { ActivationStream ranks(sources, options); }),
                HasSubstr("one process"));
  }
  testing::set_bytes(cache() / "rolling.json", "{\"format\": \"assay-rolling\", \"version\": 1}");
  EXPECT_THAT(error_of([&] { Sources::open_rolling(cache(), 1); }), HasSubstr("rolling.json"));
}

}  // namespace
}  // namespace assay::data
