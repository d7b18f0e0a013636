// Files of numpy.savez, and how containers are told from each other.
#include "data/npz.h"

#include <fmt/core.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <bit>

#include "data/base/sha256.h"
#include "data/npy.h"
#include "data/tensor_formats.h"
#include "data/torch_file.h"
#include "tests/data/archive_support.h"

namespace assay::data {
namespace {

using testing::deflated;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using testing::little;
using testing::RawEntry;
using testing::refusal_of;
using testing::write_bytes;
using testing::zip_of;

std::string npy(const std::string& header, const std::string& elements, int version = 1) {
  return "\x93NUMPY" + little(static_cast<uint64_t>(version), 2) +
         little(header.size(), version == 1 ? 2 : 4) + header + elements;
}

std::string header(const std::string& type, const std::string& order, const std::string& shape) {
  return "{'descr': '" + type + "', 'fortran_order': " + order + ", 'shape': " + shape + ", }\n";
}

/// 0, 1, … in fp32.
std::string counting(int count) {
  std::string bytes;
  for (int i = 0; i < count; ++i)
    bytes += little(std::bit_cast<uint32_t>(static_cast<float>(i)), 4);
  return bytes;
}

class Npz : public ::testing::Test {
 protected:
  TensorFile read(const std::vector<RawEntry>& entries) {
    write_bytes(file_, zip_of(entries));
    return read_npz(file_);
  }
  std::string refusal(const std::string& array) {
    const std::string line = refusal_of([&] { read({{"x.npy", array}}); });
    EXPECT_THAT(line, ::testing::StartsWith(file_.string() + ": entry 'x.npy'"));
    return line;
  }

  const support::TemporaryFolder folder_{"npz"};
  const std::filesystem::path file_ = folder_ / "a.npz";
};

TEST_F(Npz, WrittenArraysAreReadBack) {
  const std::vector<float> weights{1, 2, 3, 4, 5, 6};
  const std::vector<int64_t> counts{-7, 1 << 20};
  const std::vector<double> doubles{0.25};
  const float scalar = 2.5f;
  const std::string sum = write_npz({{"w", view_of(weights, {2, 3})},
                                     {"counts", view_of(counts)},
                                     {"f64", {"F64", {1}, doubles.data(), 8}},
                                     {"scalar", {"F32", {}, &scalar, 4}},
                                     {"empty", {"F16", {0, 4}, nullptr, 0}}},
                                    file_);
  EXPECT_EQ(sum, sha256_file(file_));
  for (const TensorFile& read : {read_npz(file_), read_tensors(file_)}) {
    EXPECT_EQ(read.tensors.size(), 5u);
    EXPECT_EQ(read.floats("w", {2, 3}), weights);
    EXPECT_EQ(read.integers("counts", {2}), counts);
    EXPECT_THAT(read.floats("f64", {1}), ElementsAre(0.25f));
    EXPECT_THAT(read.floats("scalar", {}), ElementsAre(2.5f));
    EXPECT_EQ(read.at("empty", {0, 4}).dtype, "F16");
    EXPECT_EQ(read.at("w", {2, 3}).offset % 64, 0u);
  }
}

TEST_F(Npz, WhatCannotBeWritten) {
  const float value = 1;
  EXPECT_THAT(refusal_of([&] {
                write_npz({{"x", {"BF16", {2}, &value, 4}}}, file_);
              }),
              HasSubstr("NumPy has no type for tensor 'x' of BF16; write it as F32"));
  EXPECT_THAT(refusal_of([&] {
                write_npz({{"x", {"F32", {2}, &value, 4}}}, file_);
              }),
              HasSubstr("is given 4 bytes"));
  EXPECT_FALSE(std::filesystem::exists(file_));
}

TEST_F(Npz, OrdersVersionsAndCompression) {
  const std::string c = header("<f4", "False", "(2, 3)"), f = header("<f4", "True", "(2, 3)");
  const TensorFile file = read({{"c.npy", npy(c, counting(6))},
                                {"f.npy", npy(f, counting(6), 2)},
                                deflated("packed.npy", npy(f, counting(6), 3)),
                                {"cube.npy", npy(header("<f4", "True", "(3, 1, 2)"), counting(6))},
                                {"ints.npy", npy(header("<i4", "True", "(1, 2)"), counting(2))},
                                {"column.npy", npy(header("<f4", "True", "(6,)"), counting(6))}});
  EXPECT_THAT(file.floats("c", {2, 3}), ElementsAre(0, 1, 2, 3, 4, 5));
  EXPECT_THAT(file.transposed("c", {2, 3}), ElementsAre(0, 3, 1, 4, 2, 5));
  for (const char* name : {"f", "packed"}) {
    EXPECT_THAT(file.floats(name, {2, 3}), ElementsAre(0, 2, 4, 1, 3, 5));
    EXPECT_THAT(file.transposed(name, {2, 3}), ElementsAre(0, 1, 2, 3, 4, 5));
  }
  EXPECT_THAT(file.floats("cube", {3, 1, 2}), ElementsAre(0, 3, 1, 4, 2, 5));
  EXPECT_EQ(file.integers("ints", {1, 2}).size(), 2u);
  EXPECT_EQ(file.floats("column", {6}).size(), 6u);
}

TEST_F(Npz, HeadersThatAreRefused) {
  const auto with = [](const std::string& type, const std::string& order,
                       const std::string& shape) {
    return npy(header(type, order, shape), counting(6));
  };
  EXPECT_THAT(refusal(with("|O", "False", "(6,)")), HasSubstr("pickles and could run code"));
  EXPECT_THAT(refusal(with(">f4", "False", "(6,)")), HasSubstr("element type '>f4'"));
  EXPECT_THAT(refusal(with("<U6", "False", "()")), HasSubstr("element type '<U6'"));
  EXPECT_THAT(refusal(with("<f4", "false", "(6,)")), HasSubstr("neither C nor Fortran"));
  EXPECT_THAT(refusal(with("<f4", "False", "6")), HasSubstr("no tuple of sizes"));
  EXPECT_THAT(refusal(with("<f4", "False", "(-6,)")), HasSubstr("no tuple of sizes"));
  EXPECT_THAT(refusal(with("<f4", "False", "(99999999999999999999,)")), HasSubstr("no tuple"));
  for (const char* shape :
       {"(5,)", "(7,)", "()", "(0,)", "(4294967296, 4294967296)", "(9223372036854775807, 2)"}) {
    EXPECT_THAT(refusal(with("<f4", "False", shape)), HasSubstr("24 bytes do not hold")) << shape;
  }
  std::string axes = "(";
  for (int i = 0; i < 65; ++i) axes += "1, ";
  EXPECT_THAT(refusal(npy(header("<f4", "False", axes + ")"), counting(1))), HasSubstr("65 axes"));
  EXPECT_THAT(refusal(""), HasSubstr("not a .npy file"));
  EXPECT_THAT(refusal("\x93NUMPY\x04"), HasSubstr("not a .npy file"));
  EXPECT_THAT(refusal(npy("", "", 9)), HasSubstr("not a .npy file"));
  EXPECT_THAT(refusal("\x93NUMPY" + little(1, 2) + "\x01"), HasSubstr("damaged .npy header"));
  EXPECT_THAT(refusal("\x93NUMPY" + little(2, 2) + little(65537, 4)), HasSubstr("damaged"));
  EXPECT_THAT(refusal("\x93NUMPY" + little(1, 2) + little(100, 2)), HasSubstr("truncated"));
  EXPECT_THAT(refusal(npy("", "")), HasSubstr("element type ''"));
}

TEST_F(Npz, EmptyArraysOfAnyExtent) {
  constexpr const char* kMost = "9223372036854775807";
  for (const char* order : {"True", "False"}) {
    const std::string shape = fmt::format("({0}, 0, {0}, {0})", kMost);
    const TensorFile file = read({{"x.npy", npy(header("<f4", order, shape), "")}});
    EXPECT_EQ(file.floats("x", {-1, 0, -1, -1}).size(), 0u);
  }
}

TEST_F(Npz, OtherEntriesAreRefused) {
  EXPECT_THAT(refusal_of([&] { read({{"a.txt", "hello"}}); }), HasSubstr("not a .npy array"));
}

TEST_F(Npz, FirstBytesTellTheContainer) {
  const std::vector<float> values{1, 2};
  const std::map<std::string, TensorView> tensors{{"x", view_of(values, {2})}};
  write_npz(tensors, folder_ / "a.safetensors");
  write_safetensors(tensors, folder_ / "a.pt");
  write_torch(tensors, {}, folder_ / "a");
  for (const char* name : {"a.safetensors", "a.pt", "a"})
    EXPECT_EQ(read_tensors(folder_ / name).floats("x", {2}), values);
  // The length of a safetensors header may look like the first bytes of a pickle.
  std::string text = R"({"x":{"dtype":"F32","shape":[0],"data_offsets":[0,0]}})";
  text.resize(0x0280, ' ');
  write_bytes(folder_ / "padded", little(text.size(), 8) + text);
  EXPECT_EQ(read_tensors(folder_ / "padded").tensors.size(), 1u);
  write_bytes(file_, zip_of({{"a.txt", "hello"}}));
  EXPECT_THAT(refusal_of([&] { read_tensors(file_); }), HasSubstr("without data.pkl (torch.save)"));
  for (const auto& [bytes, why] :
       {std::pair("", "it is empty"), std::pair("x", "neither"),
        std::pair("\x93NUMPY", "one array without a name"),
        std::pair("\x89HDF\r\n", "an HDF5 file"), std::pair("PK", "no end record"),
        std::pair("\x80\x04", "a pickle")}) {
    write_bytes(file_, bytes);
    EXPECT_THAT(refusal_of([&] { read_tensors(file_); }), HasSubstr(why));
  }
}

TEST_F(Npz, SingleArraysAreReadAsBefore) {
  const auto file = folder_ / "a.npy";
  write_bytes(file, npy(header("<f4", "False", "(2, 3)"), counting(6)));
  NpyFile array(file);
  EXPECT_THAT(array.shape(), ElementsAre(2, 3));
  std::vector<float> values(6);
  array.read(2, values.data());
  EXPECT_THAT(values, ElementsAre(0, 1, 2, 3, 4, 5));
  const auto refused = [&](const std::string& bytes) {
    write_bytes(file, bytes);
    return refusal_of([&] { NpyFile{file}; });
  };
  const std::string where = file.string();
  EXPECT_EQ(refused("x"), where + ": not a .npy file; save the array with numpy.save");
  EXPECT_EQ(refused(npy(header("<f4", "True", "(2, 3)"), counting(6))),
            where + ": stored in Fortran order; save numpy.ascontiguousarray(x)");
  EXPECT_EQ(refused(npy(header("|O", "False", "(2, 3)"), counting(6))),
            where + ": element type '|O',; expected '<f2', '<f4' or '<f8'");
  EXPECT_EQ(refused(npy(header("<f4", "False", "(6,)"), counting(6))),
            where + ": 1 dimensions; expected [rows, d]");
  EXPECT_EQ(refused(npy(header("<f4", "False", "x"), counting(6))),
            where + ": 0 dimensions; expected [rows, d]");
  EXPECT_EQ(refused(npy(header("<f4", "False", "(2, 4)"), counting(6))),
            where + ": 24 bytes do not hold [2, 4] elements of 4 bytes; write it anew");
  EXPECT_EQ(refused(npy(header("<f4", "False", "(2, 3)"), counting(6)).substr(0, 30)),
            where + ": truncated .npy header");
}

}  // namespace
}  // namespace assay::data
