// Files of torch.save: read back what is written, and every fault of pickles made by hand.
#include "data/torch_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <bit>

#include "data/base/sha256.h"
#include "data/tensor_formats.h"
#include "tests/data/archive_support.h"

namespace assay::data {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using testing::p_int;
using testing::p_name;
using testing::p_text;
using testing::p_tuple;
using testing::pickled;
using testing::RawEntry;
using testing::RawTensor;
using testing::refusal_of;
using ::testing::StartsWith;
using testing::write_bytes;
using testing::zip_of;

std::string dict(const std::string& items) { return "}(" + items + "u"; }

class TorchFile : public ::testing::Test {
 protected:
  /// An archive of this pickle and of a storage '0' of 0, 1, … 5 in fp32.
  void write(const std::string& opcodes, const std::vector<RawEntry>& more = {}) {
    const std::vector<float> values{0, 1, 2, 3, 4, 5};
    std::vector<RawEntry> entries{
        {"any/data.pkl", pickled(opcodes)},
        {"any/data/0", std::string(reinterpret_cast<const char*>(values.data()), 24)}};
    entries.insert(entries.end(), more.begin(), more.end());
    write_bytes(file_, zip_of(entries));
  }
  TensorFile read(const std::string& opcodes, const std::vector<RawEntry>& more = {}) {
    write(opcodes, more);
    return read_torch(file_);
  }
  /// Why it is refused, without the file's name.
  std::string refusal(const std::string& opcodes, const std::vector<RawEntry>& more = {}) {
    write(opcodes, more);
    const std::string line = refusal_of([&] { read_torch(file_); }), start = file_.string() + ": ";
    EXPECT_THAT(line, AllOf(StartsWith(start), ::testing::Not(HasSubstr("\n"))));
    return line.substr(std::min(line.size(), start.size()));
  }
  std::string refusal(const RawTensor& tensor) {
    return refusal(dict(p_text("x") + tensor.pickle()));
  }
  /// The values of a float tensor in that pickle.
  std::vector<float> values(const RawTensor& tensor, const std::vector<int64_t>& shape) {
    return read(dict(p_text("x") + tensor.pickle())).floats("x", shape);
  }

  const support::TemporaryFolder folder_{"torch"};
  const std::filesystem::path file_ = folder_ / "a.pt";
};

TEST_F(TorchFile, WrittenTensorsAreReadBack) {
  const std::vector<float> weights{1, 2, 3, 4, 5, 6};
  const std::vector<int64_t> counts{-7, 1 << 20};
  const std::vector<int32_t> narrow{-3};
  const float scalar = 2.5f;
  const std::string sum = write_torch({{"w", view_of(weights, {2, 3})},
                                       {"counts", view_of(counts)},
                                       {"i32", {"I32", {1, 1}, narrow.data(), 4}},
                                       {"scalar", {"F32", {}, &scalar, 4}},
                                       {"empty", {"F16", {0, 4}, nullptr, 0}}},
                                      {{"k", 32}, {"least", INT64_MIN}}, file_);
  EXPECT_EQ(sum, sha256_file(file_));
  for (const TensorFile& read : {read_torch(file_), read_tensors(file_)}) {
    EXPECT_EQ(read.tensors.size(), 5u);
    EXPECT_EQ(read.floats("w", {2, 3}), weights);
    EXPECT_THAT(read.transposed("w", {2, 3}), ElementsAre(1, 4, 2, 5, 3, 6));
    EXPECT_EQ(read.integers("counts", {2}), counts);
    EXPECT_THAT(read.integers("i32", {1, 1}), ElementsAre(-3));
    EXPECT_THAT(read.floats("scalar", {}), ElementsAre(2.5f));
    EXPECT_EQ(read.at("empty", {0, 4}).dtype, "F16");
    EXPECT_THAT(read.metadata,
                ::testing::UnorderedElementsAre(::testing::Pair("k", "32"),
                                                ::testing::Pair("least", "-9223372036854775808")));
  }
}

TEST_F(TorchFile, WhatCannotBeWritten) {
  const float value = 1;
  EXPECT_THAT(refusal_of([&] {
                write_torch({{"x", {"U16", {2}, &value, 4}}}, {}, file_);
              }),
              HasSubstr("no storage for tensor 'x' of U16"));
  EXPECT_THAT(refusal_of([&] {
                write_torch({{"x", {"F32", {2}, &value, 4}}}, {}, file_);
              }),
              HasSubstr("shape [2] and dtype F32 is given 4 bytes"));
  EXPECT_THAT(refusal_of([&] {
                write_torch({{"x", {"F32", {}, &value, 4}}}, {{"x", 1}}, file_);
              }),
              HasSubstr("'x' is a tensor and an integer"));
  EXPECT_FALSE(std::filesystem::exists(file_));
}

TEST_F(TorchFile, ViewsOfAStorage) {
  EXPECT_THAT(values({}, {2, 3}), ElementsAre(0, 1, 2, 3, 4, 5));
  RawTensor columns;
  columns.shape = p_tuple({3, 2});
  columns.strides = p_tuple({1, 3});
  EXPECT_THAT(values(columns, {3, 2}), ElementsAre(0, 3, 1, 4, 2, 5));
  RawTensor part;
  part.shape = p_tuple({2, 2});
  part.first = p_int(1);
  EXPECT_THAT(values(part, {2, 2}), ElementsAre(1, 2, 4, 5));
  RawTensor column;
  column.shape = p_tuple({2});
  column.strides = p_tuple({3});
  column.first = p_int(2);
  EXPECT_THAT(values(column, {2}), ElementsAre(2, 5));
  RawTensor cube;  // three axes are gathered
  cube.shape = p_tuple({3, 1, 2});
  cube.strides = p_tuple({1, 99, 3});
  EXPECT_THAT(values(cube, {3, 1, 2}), ElementsAre(0, 3, 1, 4, 2, 5));
  RawTensor one;  // of one element: no step is ever taken
  one.shape = p_tuple({1, 1});
  one.strides = p_tuple({INT64_MAX, INT64_MAX});
  one.first = p_int(5);
  EXPECT_THAT(values(one, {1, 1}), ElementsAre(5));
  RawTensor size;  // a shape that is a torch.Size
  size.shape = p_name("torch", "Size") + p_tuple({2, 3}) + "\x85R";
  EXPECT_THAT(values(size, {2, 3}), ElementsAre(0, 1, 2, 3, 4, 5));
  RawTensor empty;
  empty.shape = p_tuple({0, INT64_MAX});
  empty.first = p_int(INT64_MAX);
  EXPECT_THAT(values(empty, {0, INT64_MAX}), ElementsAre());
}

TEST_F(TorchFile, IntegersOfAViewAreGathered) {
  RawTensor tensor;
  tensor.storage = p_name("torch", "IntStorage");
  tensor.shape = p_tuple({3, 2});
  tensor.strides = p_tuple({1, 3});
  const TensorFile file = read(dict(p_text("x") + tensor.pickle()));
  const auto bits = [](float value) { return static_cast<int64_t>(std::bit_cast<int32_t>(value)); };
  EXPECT_THAT(file.integers("x", {3, 2}),
              ElementsAre(bits(0), bits(3), bits(1), bits(4), bits(2), bits(5)));
}

TEST_F(TorchFile, TensorsOutsideTheirStorage) {
  const auto with = [](std::vector<int64_t> shape, std::vector<int64_t> strides, int64_t first = 0,
                       int64_t held = 6) {
    RawTensor tensor;
    tensor.shape = p_tuple(shape);
    tensor.strides = p_tuple(strides);
    tensor.first = p_int(first);
    tensor.held = p_int(held);
    return tensor;
  };
  constexpr int64_t kMost = INT64_MAX, kLeast = INT64_MIN;
  const auto outside = HasSubstr("its elements lie outside");
  EXPECT_THAT(refusal(with({2, 4}, {4, 1})), outside);
  EXPECT_THAT(refusal(with({2, 3}, {3, 1}, 1)), outside);
  EXPECT_THAT(refusal(with({2, 3}, {4, 1})), outside);
  EXPECT_THAT(refusal(with({2, 3}, {3, 1}, -1)), outside);
  EXPECT_THAT(refusal(with({2, 3}, {3, 1}, kMost)), outside);
  EXPECT_THAT(refusal(with({2, 3}, {3, 1}, kLeast)), outside);
  EXPECT_THAT(refusal(with({2, 3}, {3, 1}, 0, 5)), outside);
  EXPECT_THAT(refusal(with({2, 3}, {kMost, 1})), outside);
  EXPECT_THAT(refusal(with({3, 3}, {kMost, 1})), outside);
  EXPECT_THAT(refusal(with({1, 2, 2}, {1, kMost, kMost})), outside);
  EXPECT_THAT(refusal(with({}, {}, 6)), outside);
  EXPECT_THAT(refusal(with({2, 3}, {-3, 1}, 3)), HasSubstr("no negative strides"));
  EXPECT_THAT(refusal(with({-2, 3}, {3, 1})), HasSubstr("whose product is a size"));
  EXPECT_THAT(refusal(with({kMost, kMost}, {0, 0})), HasSubstr("whose product is a size"));
  EXPECT_THAT(refusal(with({1 << 20, 1 << 20}, {0, 0})), HasSubstr("an expanded view"));
  EXPECT_THAT(refusal(with({7}, {0})), HasSubstr("an expanded view"));
  EXPECT_THAT(refusal(with({2, 3}, {3})), HasSubstr("expected a stride an axis"));
  EXPECT_THAT(refusal(with(std::vector<int64_t>(65, 1), {})), HasSubstr("has 65 axes"));
  EXPECT_THAT(refusal(with({2, 3}, {3, 1}, 0, 7)),
              HasSubstr("of 7 elements of 4 bytes, which has 24"));
  EXPECT_THAT(refusal(with({2, 3}, {3, 1}, 0, -1)), HasSubstr("of -1 elements"));
  EXPECT_THAT(refusal(with({2, 3}, {3, 1}, 0, kMost)), HasSubstr("which has 24 bytes"));
}

TEST_F(TorchFile, TensorsThatAreNotMadeAsTorchDoes) {
  const auto with = [](std::string RawTensor::*part, const std::string& value) {
    RawTensor tensor;
    tensor.*part = value;
    return tensor;
  };
  const auto no_storage = HasSubstr("'x' refers to no storage that torch.save writes");
  EXPECT_THAT(refusal(with(&RawTensor::storage, "N")), no_storage);
  EXPECT_THAT(refusal(with(&RawTensor::storage, p_name("torch", "Size"))), no_storage);
  EXPECT_THAT(refusal(with(&RawTensor::storage, p_text("torch.FloatStorage"))), no_storage);
  EXPECT_THAT(refusal(with(&RawTensor::key, p_int(0))), no_storage);
  EXPECT_THAT(refusal(with(&RawTensor::key, p_text("1"))),
              HasSubstr("storage '1', which is not in"));
  EXPECT_THAT(refusal(with(&RawTensor::key, p_text("../data.pkl"))),
              HasSubstr("is not in the file"));
  EXPECT_THAT(refusal(with(&RawTensor::held, "N")), HasSubstr("None where a number belongs"));
  EXPECT_THAT(refusal(with(&RawTensor::held, "NN")), no_storage);
  EXPECT_THAT(refusal(with(&RawTensor::first, p_text("0"))), HasSubstr("a str where a number"));
  EXPECT_THAT(refusal(with(&RawTensor::shape, "N")), HasSubstr("None for its shape or strides"));
  EXPECT_THAT(refusal(with(&RawTensor::shape, "(Nt")), HasSubstr("None where a number belongs"));
  EXPECT_THAT(refusal(with(&RawTensor::end, "NN")), HasSubstr("a tensor of unknown making"));
  EXPECT_THAT(refusal(with(&RawTensor::end, dict(p_text("neg") + "\x88"))),
              HasSubstr("a conjugate or negated view"));
  EXPECT_EQ(values(with(&RawTensor::end, "N"), {2, 3}).size(), 6u);
  EXPECT_EQ(values(with(&RawTensor::end, "}"), {2, 3}).size(), 6u);
  const std::string call = p_name("torch._utils", "_rebuild_tensor_v2");
  EXPECT_THAT(refusal(dict(p_text("x") + call + ")R")), HasSubstr("a tensor of unknown making"));
  EXPECT_THAT(refusal(dict(p_text("x") + call + "(NNNNNNtR")), no_storage);
  EXPECT_THAT(refusal(dict(p_text("x") + "NQ")), HasSubstr("'x' is a storage, expected a tensor"));
  EXPECT_THAT(refusal(dict(p_text("x") + p_name("torch", "FloatStorage"))),
              HasSubstr("'x' is a class, expected a tensor"));
  const std::string parameter = p_name("torch._utils", "_rebuild_parameter");
  EXPECT_THAT(refusal(dict(p_text("x") + parameter + ")R")), HasSubstr("calls torch._utils."));
  EXPECT_THAT(refusal(dict(p_text("x") + parameter + "N\x85R")), HasSubstr("without a tensor"));
}

TEST_F(TorchFile, NamesAndPlainValues) {
  const std::string x = RawTensor().pickle();
  const std::string parameter =
      p_name("torch._utils", "_rebuild_parameter") + "(" + RawTensor().pickle() + "\x88NtR";
  const TensorFile file = read(dict(
      p_text("a") +
      dict(p_text("w") + x + p_text("k") + "K\x20" + p_text("deep") + dict(p_text("n") + "N")) +
      p_text("list") + "(" + dict(p_int(3) + x) + parameter + "K\x07l" + p_text("plain") +
      "(K\x01(\x88Nt" + p_text("t\"") + "l" + p_text("inf") + "G\x7f\xf0" + std::string(6, '\0') +
      p_text("empty") + "]" + p_text("bad") + p_text("\xff")));
  EXPECT_EQ(file.tensors.size(), 3u);
  EXPECT_TRUE(file.has("a.w") && file.has("list.0.3") && file.has("list.1"));
  const std::map<std::string, std::string> wanted{
      {"a.k", "32"},          {"a.deep.n", "null"},
      {"list.2", "7"},        {"plain", "[1,[true,null],\"t\\\"\"]"},
      {"inf", "\"inf\""},     {"empty", "[]"},
      {"bad", "\xef\xbf\xbd"}};
  EXPECT_EQ(file.metadata, wanted);
}

TEST_F(TorchFile, NamesThatAreRefused) {
  const std::string x = RawTensor().pickle();
  EXPECT_THAT(refusal(dict(p_text("x") + x + p_text("x") + x)), HasSubstr("'x' is there twice"));
  EXPECT_THAT(refusal(dict(p_text("x") + x + p_text("x") + "N")), HasSubstr("'x' is there twice"));
  EXPECT_THAT(refusal(dict(p_text("a.b") + x + p_text("a") + dict(p_text("b") + "N"))),
              HasSubstr("'a.b' is there twice"));
  EXPECT_THAT(refusal(dict(p_text("\xff") + x)), HasSubstr("not UTF-8"));
  EXPECT_THAT(refusal(dict("N" + x)), HasSubstr("has None as a key"));
  EXPECT_THAT(refusal(dict(x + x)), HasSubstr("as a key, expected a str or an int"));
  EXPECT_THAT(refusal(dict(p_text(std::string(5000, 'k')) + x)), HasSubstr("key of 5000 bytes"));
  for (const std::string& top : {std::string("N"), x, p_text("x"), std::string("]")})
    EXPECT_THAT(refusal(top), HasSubstr("at its top, expected a dict of tensors"));
}

TEST_F(TorchFile, WalksAreBounded) {
  EXPECT_THAT(refusal("}q\x01" + p_text("a") + "h\x01s"), HasSubstr("deeper than 64 levels"));
  EXPECT_THAT(refusal(dict(p_text("a") + "]q\x01h\x01" + "a")), HasSubstr("deeper than 64 levels"));
  // Each list has the one before ten times: 10^9 values where they are used, in few bytes.
  std::string laughs = "N";
  for (int level = 0; level < 9; ++level) {
    laughs +=
        "q\x01"
        "0(";
    for (int i = 0; i < 10; ++i) laughs += "h\x01";
    laughs += "l";
  }
  EXPECT_THAT(refusal(dict(p_text("a") + laughs)), HasSubstr("more than 4000000 values"));
  // One long text under many names.
  std::string texts = p_text(std::string(1 << 20, 't')) +
                      "q\x01"
                      "0";
  std::string items;
  for (int i = 0; i < 100; ++i) items += p_text(std::to_string(i)) + "h\x01";
  EXPECT_THAT(refusal(texts + dict(items)),
              HasSubstr("more than 67108864 bytes of names and texts"));
  std::string many = RawTensor().pickle() +
                     "q\x01"
                     "0",
              keys;
  for (int i = 0; i <= 100'000; ++i) keys += p_text(std::to_string(i)) + "h\x01";
  EXPECT_THAT(refusal(many + dict(keys)), HasSubstr("one of more than 100000 tensors"));
}

TEST_F(TorchFile, ArchivesThatAreRefused) {
  const std::string x = dict(p_text("x") + RawTensor().pickle());
  EXPECT_EQ(read(x, {{"any/byteorder", "little"}}).tensors.size(), 1u);
  EXPECT_THAT(refusal(x, {{"any/byteorder", "big"}}), HasSubstr("order 'big', expected 'little'"));
  EXPECT_THAT(refusal(x, {{"any/constants.pkl", ""}}), HasSubstr("a TorchScript archive"));
  EXPECT_THAT(refusal(x, {{"any/code/a.py", ""}}), HasSubstr("a TorchScript archive"));
  EXPECT_THAT(refusal(x, {{"data.pkl", ""}}), HasSubstr("expected one pickle"));
  write_bytes(file_, zip_of({{"a", ""}}));
  EXPECT_THAT(refusal_of([&] { read_torch(file_); }), HasSubstr("without data.pkl"));
  const std::string old("\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.", 15);
  for (const auto& [bytes, why] : {std::pair(old, "torch before 1.6"),
                                   std::pair(pickled("N"), "a pickle, which could run code"),
                                   std::pair(std::string("text"), "no end record")}) {
    write_bytes(file_, bytes);
    EXPECT_THAT(refusal_of([&] { read_torch(file_); }), HasSubstr(why));
  }
}

TEST_F(TorchFile, FolderOfTheArchiveMayBeAnyOrNone) {
  const std::string pickle = pickled(dict(p_text("x") + RawTensor().pickle()));
  for (const std::string folder : {"", "a/b/", "\xc3\xa9/"}) {
    write_bytes(
        file_, zip_of({{folder + "data.pkl", pickle}, {folder + "data/0", std::string(24, '\0')}}));
    EXPECT_EQ(read_torch(file_).floats("x", {2, 3}), std::vector<float>(6));
  }
}

}  // namespace
}  // namespace assay::data
