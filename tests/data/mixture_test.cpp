// Mixtures of data sets, several hooks beside each other, chunks left out, and the path that bytes
// take.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <set>

#include "data/hdf5.h"
#include "data/hdf5_values.h"
#include "data/layout.h"
#include "data/stream.h"
#include "tests/data/shard_support.h"

namespace assay::data {
namespace {

using ::testing::AllOf;
using testing::bytes_of;
using testing::error_of;
using ::testing::HasSubstr;
using testing::options_for;
using testing::Rows;
using testing::set_bytes;
using testing::TemporaryFolder;

constexpr int64_t kDims = 6;

class MixtureTest : public ::testing::Test {
 protected:
  void SetUp() override {
    const int64_t sizes[] = {1500, 2345, 1100};
    for (int s = 0; s < 3; ++s) {
      Rows rows(sizes[s], kDims);
      for (size_t i = 0; i < rows.x.size(); ++i)
        rows.x[i] = rows.x[i] * static_cast<float>(s + 1) + static_cast<float>(100 * s);
      const auto path = folder_.path() / std::to_string(s);
      testing::write(options_for(path, kDims, s == 2 ? DType::f16 : DType::f32), rows);
      paths_.push_back(path.string());
    }
    options_.batch = 48;
    options_.lanes = 6;
    options_.window_chunks = 3;
    options_.seed = 3;
    options_.rule = {0, 0, 0};
  }
  Sources open(const std::vector<double>& weights) const {
    std::vector<std::string> texts;
    for (size_t s = 0; s < weights.size(); ++s)
      texts.push_back(std::to_string(weights[s]) + " " + paths_[s]);
    return Sources::open_mixture(texts);
  }
  static std::vector<float> next(ActivationStream& stream, int64_t rows) {
    std::vector<float> batch(static_cast<size_t>(rows * kDims));
    stream.next(Matrix(batch.data(), rows, kDims));
    return batch;
  }
  /// Which data set the row came from, and which of its rows.
  std::pair<size_t, int64_t> origin(const ActivationStream& stream, int64_t i) const {
    const RowOrigin from = stream.origin(i);
    for (size_t s = 0; s < paths_.size(); ++s) {
      if (from.file.rfind(paths_[s] + "/", 0) != 0) continue;
      const size_t at = from.file.find("shard-0000");
      return {s, 1000 * (from.file[at + 10] - '0') + from.row};
    }
    return {99, 0};
  }

  TemporaryFolder folder_;
  std::vector<std::string> paths_;
  StreamOptions options_;
};

TEST_F(MixtureTest, RowsComeInTheWeightsSharesAndEachSourceKeepsItsEpochs) {
  const Sources sources = open({0.5, 0.3, 0.2});
  ActivationStream stream(sources, options_);
  std::vector<int64_t> count(3);
  std::vector<std::map<int64_t, int64_t>> seen(3);
  for (int batch = 1; batch <= 200; ++batch) {
    next(stream, 48);
    for (int64_t i = 0; i < 48; ++i) {
      const auto [source, row] = origin(stream, i);
      ++count.at(source);
      ++seen[source][row];
      EXPECT_NE(row % 10, 0) << "special";
    }
    for (size_t s = 0; s < 3; ++s) {
      const double share[] = {0.5, 0.3, 0.2};
      ASSERT_NEAR(static_cast<double>(count[s]), 48.0 * batch * share[s], 6)
          << "after " << batch << " batches";
    }
  }
  // 4800 rows of the 1350 of the first: every row left at least twice. Lanes differ in length, so
  // some are ahead.
  ASSERT_EQ(seen[0].size(), 1350u);
  for (const auto& [row, times] : seen[0])
    EXPECT_THAT(times, ::testing::AllOf(::testing::Ge(2), ::testing::Le(6))) << row;
  EXPECT_EQ(stream.rows_per_epoch(), 1350 + 2110 + 990);
}

TEST_F(MixtureTest, ReadersRanksAndSeekGiveTheSameRows) {
  const Sources sources = open({1, 2, 0.5});
  ActivationStream whole(sources, options_);
  options_.readers = 4;
  ActivationStream other(sources, options_);
  std::vector<std::unique_ptr<ActivationStream>> ranks;
  for (int rank = 0; rank < 3; ++rank) {
    StreamOptions options = options_;
    options.rank = rank;
    options.ranks = 3;
    ranks.push_back(std::make_unique<ActivationStream>(sources, options));
  }
  std::vector<StreamPosition> positions;
  std::vector<std::vector<float>> batches;
  for (int batch = 0; batch < 120; ++batch) {
    positions.push_back(whole.position());
    batches.push_back(next(whole, 48));
    ASSERT_EQ(next(other, 48), batches.back());
    for (size_t rank = 0; rank < 3; ++rank) {
      const std::vector<float> part = next(*ranks[rank], 16);
      for (int64_t i = 0; i < 16; ++i) {
        const auto row = batches.back().begin() + (3 * i + static_cast<int64_t>(rank)) * kDims;
        ASSERT_TRUE(std::equal(row, row + kDims, part.begin() + i * kDims));
      }
      ASSERT_EQ(ranks[rank]->position(), whole.position());
    }
  }
  for (size_t batch = 119; batch > 10; batch -= 9) {
    other.seek(positions[batch]);
    ASSERT_EQ(other.position(), positions[batch]);
    ASSERT_EQ(next(other, 48), batches[batch]);
  }
  StreamPosition wrong = positions[50];
  ++wrong[0].offset;  // one lane would be ahead of the others
  EXPECT_THAT(error_of([&] { other.seek(wrong); }), HasSubstr("does not belong to this stream"));
}

TEST_F(MixtureTest, StatisticsAreThoseOfTheMixedRows) {
  const Sources sources = open({3, 1, 2});
  const HookInfo mixed = sources.hook("activations");
  options_.batch = 4800;
  ActivationStream stream(sources, options_);
  std::vector<double> mean(kDims);
  double square = 0;
  int64_t rows = 0;
  for (int batch = 0; batch < 20; ++batch, rows += 4800) {
    const std::vector<float> x = next(stream, 4800);
    for (size_t i = 0; i < x.size(); ++i) {
      mean[i % kDims] += x[i];
      square += static_cast<double>(x[i]) * x[i];
    }
  }
  double of_mean = 0;
  for (size_t c = 0; c < kDims; ++c) {
    EXPECT_NEAR(mixed.mean[c], mean[c] / static_cast<double>(rows), 0.05);
    of_mean += std::pow(mean[c] / static_cast<double>(rows), 2);
  }
  square /= static_cast<double>(rows);
  EXPECT_NEAR(mixed.variance, square - of_mean, 0.001 * square);
  EXPECT_NEAR(mixed.scale * mixed.scale * square, 1, 0.001);
}

TEST_F(MixtureTest, WeightsAndSourcesAreInTheHash) {
  const Sources a = open({1, 1}), b = open({1, 2}), single = open({1});
  EXPECT_NE(a.info().content_hash, b.info().content_hash);
  EXPECT_EQ(single.info().content_hash, Dataset::open(paths_[0]).info().content_hash);
  for (const char* text : {"shards", "0 shards", "-1 shards", "nan shards", "1", "1 ", "1shards"}) {
    EXPECT_THAT(error_of([&] { Sources::open_mixture({text}); }), HasSubstr("WEIGHT PATH")) << text;
  }
  const auto narrow = folder_.path() / "narrow";
  testing::write(options_for(narrow, 4), Rows(200, 4));
  const Sources two = Sources::open_mixture({"1 " + paths_[0], "1 " + narrow.string()});
  EXPECT_THAT(error_of([&] { two.hook("activations"); }),
              AllOf(HasSubstr("d = 4"), HasSubstr("cannot be mixed")));
}

/// A data set with two hooks beside the activations, each a function of the row.
void write_hooks(const std::filesystem::path& folder, const Rows& rows) {
  ShardWriterOptions options = options_for(folder, kDims, DType::f32);
  HookInfo in, out;
  in.name = "mlp_in";
  in.d = 3;
  in.dtype = DType::bf16;
  out.name = "mlp_out";
  out.d = 9;
  options.extra_hooks = {in, out};
  std::vector<float> a, b;
  for (int64_t i = 0; i < rows.rows; ++i) {
    for (int64_t c = 0; c < 3; ++c)
      a.push_back(static_cast<float>((i + c) % 128));  // exact in bf16
    for (int64_t c = 0; c < 9; ++c) b.push_back(static_cast<float>(10 * i + c));
  }
  ShardWriter writer(options);
  RowBlock block = rows.block(0, rows.rows);
  block.hooks = {{a.data(), rows.rows, 3}, {b.data(), rows.rows, 9}};
  writer.append(block);
  writer.finish();
}

TEST(Hooks, RowsOfAllHooksBelongTogether) {
  TemporaryFolder folder;
  const Rows rows(1700, kDims);
  write_hooks(folder.path(), rows);
  const Dataset dataset = Dataset::open(folder.path());
  StreamOptions options;
  options.batch = 32;
  options.lanes = 4;
  options.hook = "mlp_in";
  options.more_hooks = {"activations", "mlp_out"};
  ActivationStream stream(dataset, options);
  std::vector<float> in(32 * 3), x(32 * kDims), out(32 * 9);
  for (int batch = 0; batch < 60; ++batch) {
    stream.next({Matrix(in.data(), 32, 3), Matrix(x.data(), 32, kDims), Matrix(out.data(), 32, 9)});
    for (int64_t i = 0; i < 32; ++i) {
      const RowOrigin from = stream.origin(i);
      const int64_t row = 1000 * (from.file[from.file.find("shard-0000") + 10] - '0') + from.row;
      for (int64_t c = 0; c < 3; ++c)
        ASSERT_EQ(in[static_cast<size_t>(3 * i + c)], static_cast<float>((row + c) % 128));
      for (int64_t c = 0; c < 9; ++c)
        ASSERT_EQ(out[static_cast<size_t>(9 * i + c)], static_cast<float>(10 * row + c));
      ASSERT_EQ(x[static_cast<size_t>(kDims * i)], rows.x[static_cast<size_t>(kDims * row)]);
    }
  }
  EXPECT_THAT(error_of([&] { stream.next(Matrix(in.data(), 32, 3)); }),
              HasSubstr("1 buffers for 3 hooks"));
}

TEST(SkipCorrupt, NamesCountsAndLeavesOutTheChunk) {
  TemporaryFolder folder;
  const Rows rows(2345, kDims);
  testing::write(options_for(folder.path(), kDims, DType::f32), rows);
  StreamOptions options;
  options.batch = 48;
  options.lanes = 6;
  options.rule = {0, 0, 0};
  const std::string sound = ActivationStream(Dataset::open(folder.path()), options).data_hash();

  // Row 200 of shard 1 lies in its chunk 3 (rows 192 to 256).
  const auto file = folder.path() / "shard-00001.h5";
  const auto layout = read_layouts({file}).front();
  std::string bytes = bytes_of(file);
  for (const Extent& extent : layout.arrays[0].extents) {
    if (200 < extent.first || 200 >= extent.first + extent.rows) continue;
    bytes[static_cast<size_t>(extent.address + (200 - extent.first) * kDims * 4 + 1)] ^= 0x10;
  }
  set_bytes(file, bytes);

  const Dataset dataset = Dataset::open(folder.path());
  EXPECT_THAT(error_of([&] {
                ActivationStream stream(dataset, options);
                std::vector<float> x(48 * kDims);
                for (int batch = 0; batch < 60; ++batch) stream.next(Matrix(x.data(), 48, kDims));
              }),
              HasSubstr("corrupt chunk 3"));
  options.skip_corrupt = true;
  std::vector<std::vector<int64_t>> order;
  for (const int readers : {1, 3}) {
    options.readers = readers;
    ActivationStream stream(dataset, options);
    ASSERT_EQ(stream.skipped().size(), 1u);
    EXPECT_THAT(stream.skipped()[0],
                AllOf(HasSubstr("shard-00001.h5"), HasSubstr("rows 192 to 256")));
    EXPECT_NE(stream.data_hash(), sound);
    EXPECT_EQ(stream.rows_per_epoch(),
              2110 - 58);  // 64 rows, six of them special (200, 210, ..., 250)
    std::vector<int64_t>& seen = order.emplace_back();
    std::vector<float> x(48 * kDims);
    for (int batch = 0; batch < 100; ++batch) {
      stream.next(Matrix(x.data(), 48, kDims));
      for (int64_t i = 0; i < 48; ++i) {
        const RowOrigin from = stream.origin(i);
        const bool second = from.file.find("shard-00001") != std::string::npos;
        ASSERT_FALSE(second && from.row >= 192 && from.row < 256);
        seen.push_back(from.row + (second ? 1000 : 0));
      }
    }
  }
  EXPECT_EQ(order[0], order[1]);
}

/// Destroys what the HDF5 library needs to find anything in the file.
void destroy_metadata(const std::filesystem::path& file) {
  std::string bytes = bytes_of(file);
  bytes.replace(0, 8, 8, '\0');
  set_bytes(file, bytes);
}

TEST(DirectPath, ShardsAreReadWithoutTheLibrary) {
  for (const DType dtype : {DType::f16, DType::bf16, DType::f32}) {
    TemporaryFolder folder;
    const Rows rows(2345, kDims);
    testing::write(options_for(folder.path(), kDims, dtype), rows);
    const Dataset dataset = Dataset::open(folder.path());
    dataset.document(), dataset.special();  // columns do come through the library
    for (const auto& entry : std::filesystem::directory_iterator(folder.path())) {
      if (entry.path().extension() == ".h5") destroy_metadata(entry.path());
    }
    std::vector<float> x(static_cast<size_t>(rows.rows * kDims));
    dataset.read("activations", 0, Matrix(x.data(), rows.rows, kDims));
    EXPECT_NEAR(x.back(), rows.x.back(), 0.01);
    StreamOptions options;
    options.batch = 48;
    options.lanes = 6;
    ActivationStream stream(dataset, options);
    std::vector<float> batch(48 * kDims);
    for (int i = 0; i < 60; ++i) stream.next(Matrix(batch.data(), 48, kDims));
    EXPECT_THAT(error_of([&] { Dataset::open(folder.path()); }), HasSubstr("HDF5"));
  }
}

TEST(DirectPath, FilteredFilesDoNeedTheLibrary) {
  TemporaryFolder folder;
  const auto file = folder.path() / "packed.h5";
  const std::vector<float> x(1000, 1.5f);
  {
    const auto held = hdf5::lock();
    const hdf5::Handle out = hdf5::create_file(file);
    const hsize_t dims[2] = {250, 4}, chunk[2] = {50, 4};
    const hdf5::Handle space = hdf5::own(H5Screate_simple(2, dims, nullptr), "test", "space");
    const hdf5::Handle list = hdf5::own(H5Pcreate(H5P_DATASET_CREATE), "test", "list");
    H5Pset_chunk(list, 2, chunk);
    H5Pset_shuffle(list);
    const hdf5::Handle type = hdf5::file_type(DType::f32);
    const hdf5::Handle set = hdf5::create_dataset(out, "/activations", type, space, list, "test");
    ASSERT_GE(H5Dwrite(set, H5T_NATIVE_FLOAT, H5S_ALL, H5S_ALL, H5P_DEFAULT, x.data()), 0);
  }
  const Dataset dataset = Dataset::open(file);
  std::vector<float> found(1000);
  dataset.read("activations", 0, Matrix(found.data(), 250, 4));
  EXPECT_EQ(found, x);
  const Dataset again = Dataset::open(file);
  destroy_metadata(file);
  EXPECT_THAT(error_of([&] { again.read("activations", 0, Matrix(found.data(), 250, 4)); }),
              HasSubstr("HDF5"));
}

}  // namespace
}  // namespace assay::data
