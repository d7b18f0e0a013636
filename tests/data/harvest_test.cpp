#include "data/harvest.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <iterator>
#include <map>

#include "data/dataset.h"
#include "kernels/base/error.h"
#include "tests/data/harvest_support.h"

namespace assay::data {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

std::map<std::string, std::string> contents(const fs::path& folder) {
  std::map<std::string, std::string> files;
  for (const auto& entry : fs::directory_iterator(folder)) {
    std::ifstream in(entry.path(), std::ios::binary);
    files[entry.path().filename()] = {std::istreambuf_iterator<char>(in), {}};
  }
  return files;
}

template <class Raised>
std::string message_of(const std::function<void()>& body) {
  try {
    body();
  } catch (const Raised& error) {
    return error.what();
  }
  return "nothing was thrown";
}

TEST(Harvest, RowsAreTheCorpusInOrderWithItsColumns) {
  const TemporaryFolder folder;
  const Corpus corpus = make_corpus(9000);  // three blocks
  ToyHalf half;
  const HarvestResult result = harvest(corpus, half, toy_options(folder / "out"));
  EXPECT_EQ(result.texts, 9000);
  const Dataset set = Dataset::open(folder / "out");
  const int64_t rows = static_cast<int64_t>(corpus.tokens.size());
  ASSERT_EQ(set.info().rows, rows);
  std::vector<float> x(static_cast<size_t>(rows * 4));
  set.read("activations", 0, {x.data(), rows, 4});
  EXPECT_EQ(set.tokens(), corpus.tokens);
  EXPECT_EQ(set.special(), corpus.special);
  for (int64_t t = 0, i = 0; t < corpus.texts(); ++t) {
    for (int64_t p = 0; p < corpus.length(t); ++p, ++i) {
      const size_t s = static_cast<size_t>(i);
      ASSERT_EQ(x[4 * s], static_cast<float>(corpus.tokens[s]));
      ASSERT_EQ(x[4 * s + 1], static_cast<float>(p));
      ASSERT_EQ(x[4 * s + 2], static_cast<float>(corpus.length(t)));
      ASSERT_EQ(set.position()[s], p);
      ASSERT_EQ(set.text()[s], t);
      ASSERT_EQ(set.document()[s], t / 3);
      ASSERT_EQ(set.label_values("kind")[s], t % 2);
      ASSERT_EQ(set.label_values("number")[s], t * 1000);
    }
  }
  const auto texts = read_texts(folder / "out");
  ASSERT_TRUE(texts.has_value());
  EXPECT_EQ(texts->size(), 9000u);
  EXPECT_EQ(texts->at(77), "text 77");
  EXPECT_EQ(set.label("kind").classes, (std::vector<std::string>{"even", "odd"}));
  EXPECT_EQ(set.info().hook, "layer 1");
}

TEST(Harvest, SortsByLengthSoThatPaddingIsRare) {
  const TemporaryFolder folder;
  const Corpus corpus = make_corpus(9000);
  std::atomic<int64_t> padded = 0;
  class Counting final : public LowerHalf {
   public:
    explicit Counting(std::atomic<int64_t>& total) : total_(total) {}
    int64_t d() const override { return 4; }
    void run(const int64_t*, const int64_t*, int64_t batch, int64_t length, float* out) override {
      total_ += batch * length;
      std::fill_n(out, batch * length * 4, 0.0f);
    }

   private:
    std::atomic<int64_t>& total_;
  } half(padded);
  harvest(corpus, half, toy_options(folder / "out"));
  EXPECT_LT(static_cast<double>(padded), 1.05 * static_cast<double>(corpus.tokens.size()));
}

TEST(Harvest, BytesDoNotDependOnThreads) {
  const TemporaryFolder folder;
  const Corpus corpus = make_corpus(6000);
  for (const int threads : {1, 2, 5}) {
    ToyHalf half;
    HarvestOptions options = toy_options(folder / std::to_string(threads));
    options.threads = threads;
    harvest(corpus, half, options);
  }
  const auto one = contents(folder / "1");
  EXPECT_EQ(one, contents(folder / "2"));
  EXPECT_EQ(one, contents(folder / "5"));
}

TEST(Harvest, KilledAndResumedEndsInTheSameBytes) {
  const TemporaryFolder folder;
  const Corpus corpus = make_corpus(9000);
  ToyHalf whole;
  harvest(corpus, whole, toy_options(folder / "whole"));
  const HarvestOptions options = toy_options(folder / "killed");
  for (const int64_t calls : {1, 60, 100, 101}) {
    const pid_t child = fork();
    if (child == 0) {
      ToyHalf half([&](int64_t n) {
        if (n == calls) kill(getpid(), SIGKILL);
      });
      harvest(corpus, half, options);
      _exit(0);
    }
    int status = 0;
    waitpid(child, &status, 0);
    ASSERT_TRUE(WIFSIGNALED(status));
    ASSERT_FALSE(fs::exists(folder / "killed/index.yaml"));
  }
  ToyHalf half;
  const HarvestResult result = harvest(corpus, half, options);
  EXPECT_GT(result.resumed, 0);
  // The shard's border lies within a text.
  EXPECT_EQ(std::count(corpus.offsets.begin(), corpus.offsets.end(), result.resumed), 0);
  EXPECT_EQ(contents(folder / "killed"), contents(folder / "whole"));
}

TEST(Harvest, StopsBeforeMaxTokens) {
  const TemporaryFolder folder;
  const Corpus corpus = make_corpus(9000);
  ToyHalf half;
  HarvestOptions options = toy_options(folder / "out");
  options.max_tokens = 1000;
  const HarvestResult result = harvest(corpus, half, options);
  EXPECT_LE(result.rows, 1000);
  EXPECT_GT(result.rows, 960);
  EXPECT_EQ(result.rows, corpus.offsets[static_cast<size_t>(result.texts)]);
  EXPECT_EQ(Dataset::open(folder / "out").info().rows, result.rows);
}

TEST(Harvest, RefusesWhatDoesNotFit) {
  const TemporaryFolder folder;
  Corpus corpus = make_corpus(100);
  ToyHalf half;
  HarvestOptions options = toy_options(folder / "out");
  options.tokenizer_hash = "other";
  EXPECT_THAT(message_of<UsageError>([&] { harvest(corpus, half, options); }),
              HasSubstr("tokenizer"));
  options = toy_options(folder / "out");
  options.max_length = 16;
  EXPECT_THAT(message_of<UsageError>([&] { harvest(corpus, half, options); }),
              HasSubstr("the model takes 16"));
  options = toy_options(folder / "out");
  corpus.tokens[5] = 1000;
  EXPECT_THAT(message_of<Error>([&] { harvest(corpus, half, options); }),
              HasSubstr("/tokens[5] = 1000"));
}

TEST(Harvest, NamesTheRowThatIsNotFinite) {
  const TemporaryFolder folder;
  const Corpus corpus = make_corpus(100);
  HarvestOptions options = toy_options(folder / "out");
  class Broken final : public LowerHalf {
   public:
    int64_t d() const override { return 4; }
    void run(const int64_t*, const int64_t*, int64_t batch, int64_t length, float* out) override {
      std::fill_n(out, batch * length * 4, 1e6f);
    }
  } broken;
  options.dtype = DType::f16;
  EXPECT_THAT(message_of<Error>([&] { harvest(corpus, broken, options); }), HasSubstr("row 0"));
}

}  // namespace
}  // namespace assay::data
