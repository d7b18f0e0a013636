#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <random>

#include "data/base/crc32c.h"
#include "data/dataset.h"
#include "tests/data/shard_support.h"

namespace assay::data {
namespace {

using ::testing::AllOf;
using testing::bytes_of;
using testing::error_of;
using ::testing::HasSubstr;
using testing::options_for;
using testing::Rows;
using testing::TemporaryFolder;

/// One bit at a time, straight from the definition.
uint32_t slow_crc32c(const std::string& bytes) {
  uint32_t crc = ~0u;
  for (const char byte : bytes) {
    crc ^= static_cast<unsigned char>(byte);
    for (int bit = 0; bit < 8; ++bit) crc = (crc >> 1) ^ ((crc & 1u) ? 0x82f63b78u : 0u);
  }
  return ~crc;
}

TEST(Crc32c, MatchesTheDefinitionAtEveryLength) {
  EXPECT_EQ(crc32c(0, "123456789", 9), 0xe3069283u);  // RFC 3720's check value
  std::mt19937 random(1);
  std::string bytes(60000, '\0');
  for (char& byte : bytes) byte = static_cast<char>(random());
  for (const size_t length : {0,    1,    7,    8,    9,     255,   256,   1023,  1024,  1025,
                              1279, 1280, 3073, 4095, 12287, 12288, 12289, 24576, 40001, 60000}) {
    const std::string part = bytes.substr(0, length);
    EXPECT_EQ(crc32c(0, part.data(), length), slow_crc32c(part)) << length;
    const size_t half = length / 3;
    EXPECT_EQ(crc32c(crc32c(0, part.data(), half), part.data() + half, length - half),
              slow_crc32c(part))
        << length;
  }
}

float slow_half(uint16_t bits) {
  const int exponent = (bits >> 10) & 31, fraction = bits & 1023;
  const float sign = (bits & 0x8000) != 0 ? -1.0f : 1.0f;
  if (exponent == 31) return fraction != 0 ? NAN : sign * INFINITY;
  return sign * (exponent == 0 ? std::ldexp(static_cast<float>(fraction), -24)
                               : std::ldexp(static_cast<float>(1024 + fraction), exponent - 25));
}

TEST(DTypes, EveryHalfReadsAsDefinedAndSurvivesTheWayBack) {
  std::vector<uint16_t> bits(65536), back(65536);
  for (size_t i = 0; i < bits.size(); ++i) bits[i] = static_cast<uint16_t>(i);
  std::vector<float> values(65536);
  to_float(DType::f16, bits.data(), values.data(), 65536);
  from_float(DType::f16, values.data(), back.data(), 65536);
  for (size_t i = 0; i < bits.size(); ++i) {
    const float expected = slow_half(bits[i]);
    if (std::isnan(expected)) {
      EXPECT_TRUE(std::isnan(values[i]));
    } else {
      EXPECT_EQ(values[i], expected);
      EXPECT_EQ(back[i], bits[i]);
    }
  }
  const float ties[3] = {1.0f + 1.0f / 2048, 1.0f + 3.0f / 2048,
                         70000.0f};  // to even: down, up; overflow
  uint16_t rounded[3];
  from_float(DType::f16, ties, rounded, 3);
  EXPECT_EQ(slow_half(rounded[0]), 1.0f);
  EXPECT_EQ(slow_half(rounded[1]), 1.0f + 2.0f / 1024);
  EXPECT_TRUE(std::isinf(slow_half(rounded[2])));
}

TEST(DTypes, NamesGoBothWays) {
  for (const DType type : {DType::f32, DType::f16, DType::bf16})
    EXPECT_EQ(parse_dtype(name_of(type)), type);
  EXPECT_EQ(parse_dtype("bfloat16"), DType::bf16);
  EXPECT_THROW(parse_dtype("int8"), UsageError);
}

class ShardRoundTrip : public ::testing::TestWithParam<DType> {};
INSTANTIATE_TEST_SUITE_P(Types, ShardRoundTrip,
                         ::testing::Values(DType::f32, DType::f16, DType::bf16));

TEST_P(ShardRoundTrip, RowsColumnsAndStatisticsComeBack) {
  const TemporaryFolder folder;
  const Rows rows(2345, 24);
  testing::write(options_for(folder.path(), 24, GetParam()), rows);
  const Dataset dataset = Dataset::open(folder.path());
  const DatasetInfo& info = dataset.info();
  ASSERT_EQ(info.rows, 2345);
  EXPECT_EQ(info.model, "a model");
  EXPECT_EQ(dataset.chunks().size(), 16u + 16u + 6u);
  EXPECT_EQ(info.content_hash.size(), 64u);

  std::vector<float> expected(rows.x.size()), read(rows.x.size());
  std::vector<char> stored(rows.x.size() * 4);
  from_float(GetParam(), rows.x.data(), stored.data(), static_cast<int64_t>(rows.x.size()));
  to_float(GetParam(), stored.data(), expected.data(), static_cast<int64_t>(rows.x.size()));
  for (int64_t first = 0; first < 2345; first += 100) {  // across chunks and shards
    dataset.read("activations", first,
                 Matrix(read.data() + first * 24, std::min<int64_t>(100, 2345 - first), 24));
  }
  EXPECT_EQ(read, expected);
  EXPECT_EQ(dataset.tokens(), rows.tokens);
  EXPECT_EQ(dataset.document(), rows.document);
  EXPECT_EQ(dataset.position(), rows.position);
  EXPECT_EQ(dataset.special(), rows.special);
  EXPECT_EQ(dataset.text(), rows.text);
  EXPECT_EQ(dataset.label_values("kind"), rows.label);
  EXPECT_EQ(dataset.label("kind").classes, (std::vector<std::string>{"noun", "verb"}));

  std::vector<double> mean(24, 0.0);  // two passes over the ordinary rows
  double count = 0, variance = 0, square = 0;
  for (int64_t i = 0; i < 2345; ++i) {
    if (rows.special[static_cast<size_t>(i)]) continue;
    ++count;
    for (int64_t j = 0; j < 24; ++j)
      mean[static_cast<size_t>(j)] += expected[static_cast<size_t>(i * 24 + j)];
  }
  for (double& m : mean) m /= count;
  for (int64_t i = 0; i < 2345; ++i) {
    if (rows.special[static_cast<size_t>(i)]) continue;
    for (int64_t j = 0; j < 24; ++j) {
      const double x = expected[static_cast<size_t>(i * 24 + j)];
      variance += (x - mean[static_cast<size_t>(j)]) * (x - mean[static_cast<size_t>(j)]) / count;
      square += x * x / count;
    }
  }
  const HookInfo& hook = info.hooks[0];
  for (size_t j = 0; j < 24; ++j) EXPECT_NEAR(hook.mean[j], mean[j], 1e-7);
  EXPECT_NEAR(hook.variance, variance, 1e-9);
  EXPECT_NEAR(hook.scale, 1 / std::sqrt(square), 1e-9);
}

TEST(Shards, ExtraHooksAreRowAligned) {
  const TemporaryFolder folder;
  const Rows rows(150, 8), other(150, 5);
  ShardWriterOptions options = options_for(folder.path(), 8);
  HookInfo hook;
  hook.name = "mlp";
  hook.d = 5;
  options.extra_hooks = {hook};
  ShardWriter writer(options);
  RowBlock block = rows.block(0, 150);
  block.hooks = {ConstMatrix(other.x.data(), 150, 5)};
  writer.append(block);
  writer.finish();
  const Dataset dataset = Dataset::open(folder.path());
  std::vector<float> read(150 * 5);
  dataset.read("mlp", 0, Matrix(read.data(), 150, 5));
  EXPECT_EQ(read, other.x);
  EXPECT_THAT(error_of([&] { dataset.hook("mlpp"); }),
              AllOf(HasSubstr("mlpp"), HasSubstr("activations, mlp")));
}

TEST(Shards, KilledWriterResumesToTheSameBytes) {
  const TemporaryFolder folder;
  const Rows rows(3300, 12);
  const auto whole = folder.path() / "whole", cut = folder.path() / "cut";
  testing::write(options_for(whole, 12), rows);
  {
    ShardWriter writer(options_for(cut, 12));
    writer.append(rows.block(0, 2500));
  }
  EXPECT_FALSE(std::filesystem::exists(cut / "shard-00002.h5.part"));
  testing::set_bytes(cut / "shard-00002.h5.part", "left by kill -9");
  ShardWriter writer(options_for(cut, 12));
  ASSERT_EQ(writer.resume_rows(), 2000);
  for (int64_t i = 2000; i < 3300; i += 13)
    writer.append(rows.block(i, std::min<int64_t>(13, 3300 - i)));
  writer.finish();
  for (const char* name :
       {"shard-00000.h5", "shard-00001.h5", "shard-00002.h5", "shard-00003.h5", "index.yaml"}) {
    EXPECT_EQ(bytes_of(whole / name), bytes_of(cut / name)) << name;
  }
}

TEST(Shards, ResumingWithOtherOptionsNamesTheOption) {
  const TemporaryFolder folder;
  const Rows rows(1500, 12);
  {
    ShardWriter writer(options_for(folder.path(), 12));
    writer.append(rows.block(0, 1500));
  }
  ShardWriterOptions other = options_for(folder.path(), 12);
  other.model = "another model";
  EXPECT_THAT(error_of([&] { ShardWriter writer(other); }),
              AllOf(HasSubstr("shard-00000.h5"), HasSubstr("model"), HasSubstr("another model")));
}

TEST(Shards, FinishedFolderIsNotWrittenAgain) {
  const TemporaryFolder folder;
  testing::write(options_for(folder.path(), 4), Rows(10, 4));
  EXPECT_THAT(error_of([&] { ShardWriter writer(options_for(folder.path(), 4)); }),
              HasSubstr("already holds"));
}

TEST(Shards, NonFiniteRowIsNamed) {
  const TemporaryFolder folder;
  Rows rows(1200, 4);
  rows.x[1100 * 4 + 2] = 1e6f;  // finite, but not as f16
  ShardWriter writer(options_for(folder.path(), 4));
  EXPECT_THAT(error_of([&] { writer.append(rows.block(0, 1200)); }),
              AllOf(HasSubstr("row 1100"), HasSubstr("column 2"), HasSubstr("f16")));
  EXPECT_THAT(error_of([&] { writer.finish(); }), HasSubstr("failed"));
  EXPECT_FALSE(std::filesystem::exists(folder.path() / "index.yaml"));
}

TEST(Shards, MismatchedBlocksAreErrors) {
  const TemporaryFolder folder;
  const Rows rows(50, 4), wide(50, 5);
  ShardWriter writer(options_for(folder.path(), 4));
  EXPECT_THAT(error_of([&] { writer.append(wide.block(0, 50)); }), HasSubstr("d = 4"));
  RowBlock block = rows.block(0, 50);
  block.tokens = block.tokens.subspan(1);
  EXPECT_THAT(error_of([&] { writer.append(block); }), AllOf(HasSubstr("tokens"), HasSubstr("49")));
}

TEST(Shards, EmptyDataSetOpens) {
  const TemporaryFolder folder;
  ShardWriter writer(options_for(folder.path(), 4));
  writer.finish();
  const Dataset dataset = Dataset::open(folder.path());
  EXPECT_EQ(dataset.info().rows, 0);
  EXPECT_TRUE(dataset.chunks().empty());
}

TEST(Dataset, LabelsWithoutAnIndexAreHeldToTheirClasses) {
  const TemporaryFolder folder;
  Rows rows(60, 24);
  rows.label[17] = 7;
  write(options_for(folder.path(), 24, DType::f32), rows);
  const Dataset dataset = Dataset::open(folder / "shard-00000.h5");
  try {
    dataset.label_values("kind");
    FAIL() << "a class that is not there was accepted";
  } catch (const Error& error) {
    for (const char* part : {"shard-00000.h5", "labels/kind", "row 17", "7"})
      EXPECT_NE(std::string(error.what()).find(part), std::string::npos) << error.what();
  }
}

}  // namespace
}  // namespace assay::data
