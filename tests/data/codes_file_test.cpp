#include "data/codes_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <random>

#include "data/dataset.h"
#include "data/decoded_file.h"
#include "tests/data/shard_support.h"

namespace assay::data {
namespace {

using ::testing::HasSubstr;

/// Rows of 0 to 9 pairs over n latents.
SparseCodes ragged(int64_t rows, int32_t n) {
  std::mt19937 engine(5);
  SparseCodes codes;
  for (int64_t i = 0; i < rows; ++i) {
    for (uint32_t p = engine() % 10; p > 0; --p) {
      codes.indices.push_back(static_cast<int32_t>(engine() % static_cast<uint32_t>(n)));
      codes.values.push_back(static_cast<float>(engine() % 1000) / 7.0f);
    }
    codes.row_offsets.push_back(static_cast<int64_t>(codes.indices.size()));
  }
  return codes;
}

SparseCodes rows_of(const SparseCodes& all, int64_t first, int64_t count) {
  SparseCodes part;
  const int64_t begin = all.row_offsets[static_cast<size_t>(first)];
  for (int64_t i = 1; i <= count; ++i) {
    part.row_offsets.push_back(all.row_offsets[static_cast<size_t>(first + i)] - begin);
  }
  part.indices.assign(all.indices.begin() + begin, all.indices.begin() + begin + part.pairs());
  part.values.assign(all.values.begin() + begin, all.values.begin() + begin + part.pairs());
  return part;
}

void write(const std::filesystem::path& file, const SparseCodes& codes, int64_t n,
           int64_t block = 1000) {
  CodesInfo info;
  info.rows = codes.rows();
  info.pairs = 1000;  // only a guess: several chunks must work
  info.n = n;
  info.d = 3;
  info.k = 2;
  info.variant = "topk";
  info.dictionary_hash = "aa";
  info.source_hash = "bb";
  info.hook = "mlp";
  CodesWriter writer(file, info);
  for (int64_t first = 0; first < codes.rows(); first += block) {
    writer.append(rows_of(codes, first, std::min(block, codes.rows() - first)));
  }
  writer.finish();
}

/// Everything in the file, read in blocks.
SparseCodes read(const std::filesystem::path& file, int64_t most_rows, int64_t most_pairs) {
  CodesReader reader = CodesReader::open(file);
  SparseCodes all;
  for (SparseCodes part = reader.next(most_rows, most_pairs); part.rows() > 0;
       part = reader.next(most_rows, most_pairs)) {
    EXPECT_LE(part.rows(), most_rows);
    EXPECT_TRUE(part.pairs() <= most_pairs || part.rows() == 1);
    const int64_t begin = all.pairs();
    for (int64_t i = 1; i <= part.rows(); ++i) {
      all.row_offsets.push_back(begin + part.row_offsets[static_cast<size_t>(i)]);
    }
    all.indices.insert(all.indices.end(), part.indices.begin(), part.indices.end());
    all.values.insert(all.values.end(), part.values.begin(), part.values.end());
  }
  return all;
}

std::string error_of(const std::function<void()>& work) {
  try {
    work();
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

TEST(CodesFile, ComesBackInBlocksOfAnySize) {
  const testing::TemporaryFolder folder;
  const SparseCodes codes = ragged(2500, 50);
  for (const int64_t block : {1, 700, 5000}) {
    const auto file = folder.path() / "codes.h5";
    write(file, codes, 50, block);
    const std::vector<std::pair<int64_t, int64_t>> sizes{
        {5000, 1 << 20}, {97, 1 << 20}, {5000, 333}, {200, 5}};
    for (const auto& [rows, pairs] : sizes) {
      if (pairs == 5 && block != 700) continue;  // a child process a row: once is enough
      const SparseCodes back = read(file, rows, pairs == 5 ? 50 : pairs);
      EXPECT_EQ(back.row_offsets, codes.row_offsets);
      EXPECT_EQ(back.indices, codes.indices);
      EXPECT_EQ(back.values, codes.values);
    }
  }
}

TEST(CodesFile, KeepsItsAttributes) {
  const testing::TemporaryFolder folder;
  const auto file = folder.path() / "codes.h5";
  const SparseCodes codes = ragged(10, 50);
  write(file, codes, 50);
  const CodesInfo info = CodesReader::open(file).info();
  EXPECT_EQ(info.rows, 10);
  EXPECT_EQ(info.pairs, codes.pairs());
  EXPECT_EQ(info.n, 50);
  EXPECT_EQ(info.d, 3);
  EXPECT_EQ(info.k, 2);
  EXPECT_EQ(info.variant, "topk");
  EXPECT_EQ(info.dictionary_hash, "aa");
  EXPECT_EQ(info.source_hash, "bb");
  EXPECT_EQ(info.hook, "mlp");
}

TEST(CodesFile, NoRowsMakeAFile) {
  const testing::TemporaryFolder folder;
  write(folder.path() / "codes.h5", SparseCodes(), 50);
  EXPECT_EQ(read(folder.path() / "codes.h5", 10, 10).rows(), 0);
}

TEST(CodesFile, RefusesWhatCannotBeDecoded) {
  const testing::TemporaryFolder folder;
  const auto file = folder.path() / "codes.h5";
  SparseCodes codes = ragged(300, 50);
  const auto fault = [&](const SparseCodes& bad, int64_t n) {
    write(file, bad, n);
    return error_of([&] { read(file, 100, 1 << 20); });
  };
  size_t row = 251;  // beyond the first block
  while (codes.row_offsets[row + 1] == codes.row_offsets[row]) ++row;
  const auto pair = static_cast<size_t>(codes.row_offsets[row]);
  const std::string named = "row " + std::to_string(row);
  SparseCodes bad = codes;
  bad.indices[pair] = 50;
  EXPECT_THAT(fault(bad, 50), HasSubstr(named + ": index 50 "));
  bad.indices[pair] = -1;
  EXPECT_THAT(fault(bad, 50), HasSubstr(named + ": index -1 "));
  bad = codes;
  bad.values[pair] = NAN;
  EXPECT_THAT(fault(bad, 50), HasSubstr(named + ": the value of latent"));
  bad = codes;
  for (int32_t& index : bad.indices) index %= 2;
  EXPECT_THAT(fault(bad, 2), HasSubstr("pairs, more than n = 2"));
}

TEST(CodesFile, AnUnfinishedWriterLeavesNothing) {
  const testing::TemporaryFolder folder;
  const auto file = folder.path() / "codes.h5";
  {
    CodesInfo info;
    info.n = 50;
    CodesWriter writer(file, info);
    writer.append(ragged(2000, 50));
  }
  EXPECT_TRUE(std::filesystem::is_empty(folder.path()));
}

TEST(ActivationsFile, IsADataSet) {
  const testing::TemporaryFolder folder;
  const auto file = folder.path() / "x.h5";
  const testing::Rows rows(500, 6);
  const ConstMatrix x(rows.x.data(), 500, 6);
  ActivationsWriter writer(file, 500, 6, "layer 4", "cc");
  writer.append(x.slice(0, 123));
  writer.append(x.slice(123, 377));
  writer.finish();
  const Dataset dataset = Dataset::open(file);
  EXPECT_EQ(dataset.info().rows, 500);
  EXPECT_EQ(dataset.info().hook, "layer 4");
  EXPECT_FALSE(dataset.info().content_hash.empty());
  std::vector<float> back(rows.x.size());
  dataset.read("activations", 0, {back.data(), 500, 6});
  EXPECT_EQ(back, rows.x);
}

}  // namespace
}  // namespace assay::data
