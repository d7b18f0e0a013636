// Archives that are what they say, and those that are not.
#include "data/zip_archive.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "data/base/sha256.h"
#include "tests/data/archive_support.h"

namespace assay::data {
namespace {

using ::testing::AllOf;
using testing::crc32_of;
using testing::deflated;
using ::testing::EndsWith;
using ::testing::HasSubstr;
using testing::little;
using testing::RawEntry;
using testing::refusal_of;
using ::testing::StartsWith;
using testing::write_bytes;
using testing::zip_of;

std::string part(const ByteSource& source, uint64_t offset, size_t bytes) {
  std::string text(bytes, '?');
  source.read(offset, text.data(), bytes);
  return text;
}

class ZipArchiveTest : public ::testing::Test {
 protected:
  std::string refusal(const std::string& bytes) {
    write_bytes(file_, bytes);
    const std::string line = refusal_of([&] { ZipArchive archive(file_); });
    EXPECT_THAT(line, ::testing::Not(HasSubstr("\n")));
    return line;
  }
  ZipArchive open(const std::string& bytes) {
    write_bytes(file_, bytes);
    return ZipArchive(file_);
  }

  const support::TemporaryFolder folder_{"zip"};
  const std::filesystem::path file_ = folder_ / "a.zip";
};

TEST_F(ZipArchiveTest, StoredAndDeflatedEntriesAreRead) {
  const ZipArchive archive =
      open(zip_of({{"a", "hello"}, deflated("sub/b", "0123456789"), {"empty", ""}}));
  ASSERT_EQ(archive.entries().size(), 3u);
  EXPECT_EQ(archive.find("none"), nullptr);
  EXPECT_FALSE(archive.find("a")->deflated);
  EXPECT_TRUE(archive.find("sub/b")->deflated);
  for (const char* name : {"a", "sub/b"}) {
    const ZipEntry& entry = *archive.find(name);
    const auto source = archive.open(entry);
    EXPECT_EQ(source->size(), entry.size);
    EXPECT_EQ(part(*source, 3, 2), entry.deflated ? "34" : "lo");
    EXPECT_EQ(part(*source, 0, 1), entry.deflated ? "0" : "h");  // backwards
    EXPECT_EQ(part(*source, entry.size, 0), "");
    EXPECT_EQ(archive.head(entry, 2), entry.deflated ? "01" : "he");
    EXPECT_EQ(archive.head(entry, 100).size(), entry.size);
    EXPECT_EQ(archive.text(entry, entry.size).size(), entry.size);
    EXPECT_THAT(refusal_of([&] { archive.text(entry, entry.size - 1); }),
                HasSubstr("expected at most"));
    EXPECT_THAT(refusal_of([&] { part(*source, 2, entry.size); }), HasSubstr("at byte 2"));
    EXPECT_THAT(refusal_of([&] { part(*source, ~uint64_t{0}, 2); }), HasSubstr("at byte"));
  }
  const ZipEntry& empty = *archive.find("empty");
  EXPECT_EQ(archive.head(empty, 9) + archive.text(empty, 9) + part(*archive.open(empty), 0, 0), "");
  EXPECT_NE(refusal_of([&] { part(*archive.open(empty), 0, 1); }), "");
}

TEST_F(ZipArchiveTest, BytesOutliveTheArchive) {
  std::shared_ptr<const ByteSource> source;
  {
    const ZipArchive archive = open(zip_of({{"a", "hello"}}));
    source = archive.open(archive.entries()[0]);
  }
  EXPECT_EQ(part(*source, 1, 4), "ello");
}

TEST_F(ZipArchiveTest, ChecksumsAreCompared) {
  RawEntry stored("a", "hello"), packed = deflated("b", "hello");
  stored.checksum ^= 1;
  packed.checksum ^= 1;
  const ZipArchive archive = open(zip_of({stored, packed}));
  for (const ZipEntry& entry : archive.entries()) {
    const auto expected = AllOf(StartsWith(file_.string() + ": entry '" + entry.name),
                                HasSubstr("do not match their checksum"), EndsWith("anew"));
    const auto source = archive.open(entry);
    EXPECT_THAT(refusal_of([&] { archive.text(entry, 100); }), expected);
    EXPECT_THAT(refusal_of([&] { part(*source, 4, 1); }), expected);
    EXPECT_THAT(refusal_of([&] { part(*source, 4, 1); }), expected);  // and again
  }
}

TEST_F(ZipArchiveTest, EntriesThatAreNotAsLongAsTheySay) {
  RawEntry more = deflated("a", "hello"), less = more, wrong = more;
  more.size = 4;
  less.size = 6;
  wrong.packed[0] = 7;  // a block of a kind that there is not
  for (const RawEntry& entry : {more, less, wrong}) {
    const ZipArchive archive = open(zip_of({entry}));
    EXPECT_NE(refusal_of([&] { archive.text(archive.entries()[0], 100); }), "");
    EXPECT_NE(refusal_of([&] { part(*archive.open(archive.entries()[0]), 0, 1); }), "");
  }
  RawEntry stored("a", "hello");
  stored.size = 6;
  EXPECT_THAT(refusal(zip_of({stored})), HasSubstr("claims to hold 6 bytes in 5"));
}

TEST_F(ZipArchiveTest, BombsAreRefusedByTheirRatio) {
  RawEntry bomb = deflated("a", "hello");
  bomb.size = 1100 * bomb.packed.size() + 1099;
  EXPECT_EQ(refusal(zip_of({bomb})), "");
  ++bomb.size;
  EXPECT_THAT(refusal(zip_of({bomb})), HasSubstr("which cannot be"));
}

TEST_F(ZipArchiveTest, KindsOfEntriesThatAreRefused) {
  RawEntry entry("a", "hello");
  entry.flags = 1;
  EXPECT_THAT(refusal(zip_of({entry})), HasSubstr("entry 'a' is encrypted"));
  entry.flags = 0x41;
  EXPECT_THAT(refusal(zip_of({entry})), HasSubstr("entry 'a' is encrypted"));
  entry.flags = 0;
  entry.method = 14;
  EXPECT_THAT(refusal(zip_of({entry})), HasSubstr("entry 'a' is packed by method 14"));
}

TEST_F(ZipArchiveTest, NamesThatAreRefused) {
  for (const char* name : {"/a", "..", "../a", "a/../b", "a/.."}) {
    EXPECT_THAT(refusal(zip_of({{name, ""}})), HasSubstr(std::string("the name '") + name + "'"));
  }
  for (const char* name : {"a..b", "...", "a/b", "a/", "\xc3\xa9"})
    EXPECT_EQ(refusal(zip_of({{name, ""}})), "") << name;
  EXPECT_THAT(refusal(zip_of({{"", ""}})), HasSubstr("not a valid zip archive"));
  EXPECT_THAT(refusal(zip_of({{"a", ""}, {"b", ""}, {"a", "x"}})),
              HasSubstr("two entries have one name"));
}

TEST_F(ZipArchiveTest, DirectoriesThatAreRefused) {
  const std::string good = zip_of({{"a", "hello"}});
  EXPECT_EQ(refusal(good), "");
  EXPECT_THAT(refusal(""), HasSubstr("no end record"));
  EXPECT_THAT(refusal("PK"), HasSubstr("no end record"));
  EXPECT_THAT(refusal(good.substr(0, good.size() - 1)), HasSubstr("no end record"));
  EXPECT_THAT(refusal(good + "x"), HasSubstr("no end record"));
  EXPECT_THAT(refusal("x" + good), HasSubstr("does not end where its end record begins"));
  std::string commented = good;
  commented.replace(good.size() - 2, 2, little(22, 2));
  const std::string second =  // of an empty directory
      "PK\5\6" + little(0, 12) + little(commented.size(), 4) + little(0, 2);
  EXPECT_THAT(refusal(commented + second), HasSubstr("several end records"));
  EXPECT_EQ(refusal(commented + std::string(22, 'c')), "");
  std::string moved = good;
  moved[good.size() - 6] ^= 1;  // where the directory begins
  EXPECT_THAT(refusal(moved), HasSubstr("does not end where its end record begins"));
  std::string local = good;
  local[2] = 5;
  EXPECT_THAT(refusal(local), HasSubstr("not a valid zip archive"));
}

/// A file that ends with a 64-bit end record of these numbers.
std::string with_wide_end(uint64_t entries, uint64_t bytes, uint64_t offset, uint64_t place) {
  return std::string(100, 'x') + "PK\6\6" + little(44, 8) + little(45, 2) + little(45, 2) +
         little(0, 8) + little(entries, 8) + little(entries, 8) + little(bytes, 8) +
         little(offset, 8) + "PK\6\7" + little(0, 4) + little(place, 8) + little(1, 4) + "PK\5\6" +
         little(0, 4) + little(~0ull, 8) + little(~0ull, 4) + little(0, 2);
}

TEST_F(ZipArchiveTest, AnnouncementsAreBounded) {
  const auto many = HasSubstr("expected at most 100000 in 33554432");
  EXPECT_THAT(refusal(with_wide_end(100'001, 100, 0, 100)), many);
  EXPECT_THAT(refusal(with_wide_end(~0ull, 100, 0, 100)), many);
  EXPECT_THAT(refusal(with_wide_end(1, (32u << 20) + 1, 0, 100)), many);
  EXPECT_THAT(refusal(with_wide_end(1, ~0ull, 0, 100)), many);
  EXPECT_THAT(refusal(with_wide_end(1, 100, 0, ~0ull)), HasSubstr("outside the file"));
  EXPECT_THAT(refusal(with_wide_end(1, 100, 0, 101)), HasSubstr("outside the file"));
  EXPECT_THAT(refusal(with_wide_end(1, 100, ~0ull, 100)), HasSubstr("does not end where"));
  EXPECT_THAT(refusal(with_wide_end(1, 100, 0, 100)), HasSubstr("not a valid zip archive"));
}

TEST_F(ZipArchiveTest, WrittenEntriesAreAlignedAndReadBack) {
  std::vector<RawEntry> wanted;
  ZipWriter writer(file_);
  for (size_t i = 0; i < 70; ++i) {
    wanted.emplace_back(std::string(i + 1, 'n'),
                        std::string(i * i, static_cast<char>('a' + i % 26)));
    const std::string_view content = wanted.back().packed;
    writer.add(wanted.back().name, {content.substr(0, i), {}, content.substr(i)});
  }
  EXPECT_FALSE(std::filesystem::exists(file_));
  const std::string sum = writer.finish();
  EXPECT_EQ(sum, sha256_file(file_));
  const std::string bytes = support::bytes_of(file_);
  const ZipArchive archive(file_);
  ASSERT_EQ(archive.entries().size(), wanted.size());
  for (const RawEntry& entry : wanted) {
    EXPECT_EQ(archive.text(*archive.find(entry.name), 1 << 20), entry.packed);
    if (entry.size > 0) {
      EXPECT_EQ(bytes.find(entry.packed + "PK") % 64, 0u) << entry.name;
    }
  }
  EXPECT_THAT(refusal_of([&] { ZipWriter(file_).add(std::string(65536, 'n'), {}); }),
              HasSubstr("a name of 65536 bytes"));
  EXPECT_EQ(support::bytes_of(file_), bytes);  // what is not finished replaces nothing
}

TEST_F(ZipArchiveTest, ManyEntriesNeedTheWideDirectory) {
  ZipWriter writer(file_);
  for (int i = 0; i < 66'000; ++i) writer.add(std::to_string(i), {});
  writer.finish();
  const ZipArchive archive(file_);
  EXPECT_EQ(archive.entries().size(), 66'000u);
  EXPECT_NE(archive.find("65999"), nullptr);
}

}  // namespace
}  // namespace assay::data
