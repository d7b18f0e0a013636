// Bad input: every fault becomes one Error that names the file.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <thread>

#include "data/base/atomic_file.h"
#include "data/dataset.h"
#include "data/untrusted.h"
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

std::string open_error(const std::filesystem::path& path) {
  return error_of([&] { Dataset::open(path); });
}

TEST(Damage, MissingFilesAndFolders) {
  const TemporaryFolder folder;
  EXPECT_THAT(open_error(folder.path() / "none"), HasSubstr("no such file"));
  EXPECT_THAT(open_error(folder.path()),
              AllOf(HasSubstr("no index.yaml"), HasSubstr("assay index")));
  testing::write(options_for(folder.path(), 4), Rows(1500, 4));
  std::filesystem::remove(folder.path() / "shard-00001.h5");
  EXPECT_THAT(open_error(folder.path()),
              AllOf(HasSubstr("shard-00001.h5"), HasSubstr("no such file")));
}

TEST(Damage, FileThatIsNotHdf5) {
  const TemporaryFolder folder;
  set_bytes(folder.path() / "a.h5", "these are not the bytes you are looking for");
  EXPECT_THAT(open_error(folder.path() / "a.h5"),
              AllOf(HasSubstr("a.h5"), HasSubstr("not an HDF5 file")));
}

TEST(Damage, TruncatedAtManyPlaces) {
  const TemporaryFolder folder;
  testing::write(options_for(folder.path(), 16), Rows(500, 16));
  const std::string whole = bytes_of(folder.path() / "shard-00000.h5");
  const auto cut = folder.path() / "cut.h5";
  for (size_t i = 0; i < 20; ++i) {
    set_bytes(cut, whole.substr(0, whole.size() * i / 20));
    const std::string error = open_error(cut);
    EXPECT_THAT(error, HasSubstr("cut.h5")) << i;
    EXPECT_EQ(error.find('\n'), std::string::npos);
  }
}

/// Any flipped byte either leaves every row as it was or is an Error; never a crash, never other
/// rows.
TEST(Damage, FlippedBytesNeverChangeRows) {
  const TemporaryFolder folder;
  const Rows rows(200, 8);
  testing::write(options_for(folder.path(), 8, DType::f32), rows);
  const auto file = folder.path() / "shard-00000.h5";
  const std::string whole = bytes_of(file);
  std::vector<float> read(rows.x.size());
  for (size_t at = 0; at < whole.size(); at += whole.size() / 150) {
    std::string bytes = whole;
    bytes[at] = static_cast<char>(bytes[at] ^ 0x41);
    set_bytes(file, bytes);
    const std::string error = error_of([&] {
      const Dataset dataset = Dataset::open(folder.path());
      dataset.read("activations", 0, Matrix(read.data(), 200, 8));
    });
    if (error.empty()) {
      EXPECT_EQ(read, rows.x) << at;
    } else {
      EXPECT_EQ(error.find('\n'), std::string::npos) << error;
    }
  }
}

TEST(Damage, CorruptChunkIsNamedAndOthersStillRead) {
  const TemporaryFolder folder;
  const Rows rows(1300, 8);
  testing::write(options_for(folder.path(), 8, DType::f32), rows);
  const auto file = folder.path() / "shard-00001.h5";
  std::string bytes = bytes_of(file);
  const std::string needle(reinterpret_cast<const char*>(rows.x.data() + 1100 * 8),
                           32);  // row 100 of the shard: chunk 1
  const size_t at = bytes.find(needle);
  ASSERT_NE(at, std::string::npos);
  bytes[at] = static_cast<char>(bytes[at] ^ 1);
  set_bytes(file, bytes);
  const Dataset dataset = Dataset::open(folder.path());
  std::vector<float> row(8);
  const auto part = AllOf(HasSubstr("shard-00001.h5"), HasSubstr("corrupt chunk 1 "),
                          HasSubstr("rows 64 to 128"));
  EXPECT_THAT(error_of([&] { dataset.read("activations", 1090, Matrix(row.data(), 1, 8)); }), part);
  EXPECT_THAT(error_of([&] { dataset.read("activations", 1100, Matrix(row.data(), 1, 8)); }), part);
  dataset.read("activations", 1063, Matrix(row.data(), 1, 8));
  EXPECT_EQ(0, std::memcmp(row.data(), rows.x.data() + 1063 * 8, 32));
}

TEST(Damage, HostileIndexes) {
  const TemporaryFolder folder;
  testing::write(options_for(folder.path(), 4), Rows(100, 4));
  const auto file = folder.path() / "index.yaml";
  const std::string good = bytes_of(file);
  const auto with = [&](const std::string& from, const std::string& to) {
    std::string bad = good;
    const size_t at = bad.find(from);
    EXPECT_NE(at, std::string::npos) << from;
    set_bytes(file, bad.replace(at, from.size(), to));
    return open_error(folder.path());
  };
  EXPECT_THAT(with("format: 1", "format: 7"),
              AllOf(HasSubstr("index.yaml:1"), HasSubstr("format 1")));
  EXPECT_THAT(with("rows: 100", "rowz: 100"), HasSubstr("unknown key 'rowz'"));
  EXPECT_THAT(with("rows: 100", "rows: 99"), HasSubstr("rows"));
  EXPECT_THAT(with("rows: 100", "rows: -5"), HasSubstr("expected an integer"));
  EXPECT_THAT(with("d: 4", "d: 5"), HasSubstr("expected 5 numbers"));
  EXPECT_THAT(with("dtype: f16", "dtype: f64"), HasSubstr("expected f32, f16 or bf16"));
  EXPECT_THAT(with("chunk_rows: 64", "chunk_rows: 1"), HasSubstr("checksums"));
  EXPECT_THAT(with("scale: ", "scale: 9"), HasSubstr("contradicts"));
  EXPECT_THAT(with("variance: ", "variance: .nan #"), HasSubstr("finite"));
  EXPECT_THAT(with("files:", "files: [\n"), HasSubstr("index.yaml:"));
  EXPECT_THAT(with("path: \"shard", "path: \"/nowhere/shard"), HasSubstr("no such file"));
  set_bytes(file, std::string(100000, '['));
  EXPECT_THAT(open_error(folder.path()), HasSubstr("index.yaml"));
  set_bytes(file, "");
  EXPECT_THAT(open_error(folder.path()), HasSubstr("index.yaml"));
}

/// Files may not grow beyond `bytes` in the scope, as on a full disk.
class SmallFiles {
 public:
  explicit SmallFiles(rlim_t bytes) : signal_(std::signal(SIGXFSZ, SIG_IGN)) {
    getrlimit(RLIMIT_FSIZE, &before_);
    const rlimit small{bytes, before_.rlim_max};
    setrlimit(RLIMIT_FSIZE, &small);
  }
  ~SmallFiles() {
    setrlimit(RLIMIT_FSIZE, &before_);
    std::signal(SIGXFSZ, signal_);
  }

 private:
  rlimit before_{};
  void (*signal_)(int);
};

TEST(Damage, FullDiskIsAnErrorThatNamesFileAndBytes) {
  const TemporaryFolder folder;
  const Rows rows(1500, 64);
  for (const rlim_t bytes :
       {1000u, 20000u, 100000u, 135000u, 150000u}) {  // in chunks, columns, metadata
    const auto out = folder.path() / std::to_string(bytes);
    std::string error;
    {
      const SmallFiles limit(bytes);
      error = error_of([&] { testing::write(options_for(out, 64), rows); });
    }
    EXPECT_THAT(error, AllOf(HasSubstr("shard-0000"), HasSubstr("cannot write"),
                             HasSubstr("File too large")))
        << bytes;
    EXPECT_FALSE(std::filesystem::exists(out / "index.yaml"));
    EXPECT_FALSE(std::filesystem::exists(out / "shard-00000.h5.part"));
    testing::write(options_for(out, 64), rows);  // with space again, the same process goes on
    EXPECT_EQ(Dataset::open(out).info().rows, 1500);
  }
}

TEST(Damage, AtomicFileKeepsTheOldOneOnAFullDisk) {
  const TemporaryFolder folder;
  const auto file = folder.path() / "note";
  write_file_atomically(file, "old");
  {
    const SmallFiles limit(100);
    EXPECT_THAT(error_of([&] { write_file_atomically(file, std::string(5000, 'x')); }),
                AllOf(HasSubstr("note"), HasSubstr("more than 100 bytes")));
  }
  EXPECT_EQ(bytes_of(file), "old");
  EXPECT_FALSE(std::filesystem::exists(folder.path() / "note.part"));
  write_file_atomically(file, "new");
  EXPECT_EQ(bytes_of(file), "new");
}

using View = std::string_view;

TEST(Isolation, AnswersErrorsCrashesAndLimits) {
  const auto many = [](View count) { return std::string(std::stoul(std::string(count)), 'x'); };
  EXPECT_EQ(run_isolated("f", many, "3145728"), std::string(3 << 20, 'x'));
  EXPECT_EQ(run_isolated("f", many, "0"), "");
  const auto echo = [](View text) { return std::string(text); };
  EXPECT_EQ(run_isolated("f", echo, std::string(1 << 20, 'y')), std::string(1 << 20, 'y'));
  const auto bad = [](View) -> std::string { throw Error("f: bad"); };
  EXPECT_EQ(error_of([&] { run_isolated("f", bad, ""); }), "f: bad");
  const auto misused = [](View) -> std::string { throw UsageError("f: bad"); };
  EXPECT_THROW(run_isolated("f", misused, ""), UsageError);
  const auto crash = [](View) -> std::string { std::abort(); };
  EXPECT_THAT(error_of([&] { run_isolated("the file", crash, ""); }),
              AllOf(HasSubstr("the file"), HasSubstr("crashed"), HasSubstr("signal 6")));
  IsolationLimits limits;
  limits.answer_bytes = 10;
  EXPECT_THAT(error_of([&] { run_isolated("f", many, "100", limits); }), HasSubstr("10 bytes"));
  limits = {};
  limits.seconds = 1;
  const auto forever = [](View) -> std::string {
    std::atomic<int> i{0};
    for (;;) ++i;
  };
  const auto asleep = [](View) -> std::string {
    for (;;) pause();
  };
  const auto start = std::chrono::steady_clock::now();
  EXPECT_THAT(error_of([&] { run_isolated("f", forever, "", limits); }), HasSubstr("f: "));
  EXPECT_THAT(error_of([&] { run_isolated("f", asleep, "", limits); }), HasSubstr("more than 1 s"));
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(8));
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
  limits.memory_bytes = 64 << 20;
  EXPECT_THAT(error_of([&] { run_isolated("f", many, "1073741824", limits); }),
              HasSubstr("memory"));
#endif
}

TEST(Isolation, TextsAreOneArgumentAndBack) {
  const std::vector<std::string> texts{"a", "", "\xff b"};
  EXPECT_EQ(unpack(pack({texts[0], texts[1], texts[2]})), texts);
  EXPECT_TRUE(unpack("").empty());
}

TEST(Isolation, ChildrenIgnoreTheSignalsThatStopARun) {
  const auto told = [](View) {
    for (const int number : {SIGTERM, SIGINT, SIGHUP, SIGUSR1}) ::raise(number);
    return std::string("whole");
  };
  EXPECT_EQ(run_isolated("f", told, ""), "whole");
}

TEST(Isolation, ThreadsAskAtTheSameTime) {
  std::vector<std::thread> threads;
  std::atomic<int> right{0};
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&right, t] {
      const std::string text(100'000 * (t + 1), static_cast<char>('a' + t));
      for (int i = 0; i < 5; ++i)
        right += run_isolated(
                     "f", [](View view) { return std::string(view); }, text) == text;
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(right, 20);
}

}  // namespace
}  // namespace assay::data
