// Continuations of a model small enough to follow by hand, measures of text, and the judge on
// planted corpora.
#include "eval/tasks/unlearning/continuation.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "eval/tasks/unlearning/text_written.h"
#include "kernels/base/random.h"
#include "tests/eval/planted_data.h"

namespace assay::eval::unlearning {
namespace {

constexpr int64_t kWords = 7, kD = kWords + 1;

/// Token t is the t-th unit vector.
class OneHot : public data::LowerHalf {
 public:
  int64_t d() const override { return kD; }
  void run(const int64_t* ids, const int64_t*, int64_t batch, int64_t length, float* out) override {
    std::fill(out, out + batch * length * kD, 0.0f);
    for (int64_t i = 0; i < batch * length; ++i) out[i * kD + ids[i]] = 1;
  }
};

int32_t follower(int32_t token) { return (token * 3 + 2) % kWords; }

/// Writes the follower of the last token that the stream shows; the last dimension, where every
/// position but the first has it, asks for the follower's follower.
class Follow : public sae::WordHalf {
 public:
  int64_t d() const override { return kD; }
  int64_t vocabulary() const override { return kWords; }
  void next(const float* x, const int64_t*, int64_t batch, int64_t length,
            float* logits) const override {
    for (int64_t b = 0; b < batch; ++b) {
      const float* last = x + ((b + 1) * length - 1) * kD;
      bool shifted = true;
      for (int64_t t = 1; t < length; ++t) shifted &= x[(b * length + t) * kD + kWords] > 0.5f;
      const float* shown = std::max_element(last, last + kWords);
      int32_t next = *shown > 0 ? follower(static_cast<int32_t>(shown - last)) : 0;
      if (shifted) next = follower(next);
      for (int64_t v = 0; v < kWords; ++v)
        logits[b * kWords + v] = v == next ? 2.0f : -static_cast<float>(v);
    }
  }
  void lens(const float*, int64_t, float*) const override { FAIL() << "no lens is needed"; }
};

class ContinuationTest : public ::testing::Test {
 protected:
  Prompts prompts(int32_t last) {
    // The first token is special: no edit touches it.
    return {3,
            3,
            {6, 1, last, 6, 2, last, 6, 5, static_cast<int32_t>((last + 1) % 6)},
            {1, 0, 0, 1, 0, 0, 1, 0, 0}};
  }
  std::vector<int32_t> write(const Prompts& p, const Edit* edit, std::vector<int32_t> never = {},
                             int threads = 2) {
    Context context({Device::cpu, threads});
    const Writer writer{context, lower_, words_, {&dictionary_}, std::move(never), 2};
    return continue_greedily(writer, p, edit, 6);
  }
  OneHot lower_;
  Follow words_;
  sae::Dictionary dictionary_ = test::identity_dictionary(kD, 2);
};

TEST_F(ContinuationTest, FollowsTheModelWordByWord) {
  const Prompts p = prompts(3);
  const std::vector<int32_t> written = write(p, nullptr);
  for (int64_t e = 0; e < 3; ++e) {
    int32_t token = p.tokens[e * 3 + 2];
    for (int64_t i = 0; i < 6; ++i)
      EXPECT_EQ(written[e * 6 + i], token = follower(token)) << e << " " << i;
  }
}

TEST_F(ContinuationTest, TheEditIsHeldAtEveryWrittenToken) {
  std::vector<double> shift(kD);
  shift[kWords] = 1;
  const Prompts p = prompts(1);
  const std::vector<int32_t> written = write(p, shift_edit(shift, 1).get());
  for (int64_t e = 0; e < 3; ++e) {
    int32_t token = p.tokens[e * 3 + 2];
    for (int64_t i = 0; i < 6; ++i)
      EXPECT_EQ(written[e * 6 + i], token = follower(follower(token)));
  }
}

TEST_F(ContinuationTest, ClampsReadTheCodesOfWhatIsWritten) {
  LatentTargets targets{std::vector<uint8_t>(2 * kD), std::vector<float>(2 * kD)};
  targets.chosen[1] =
      1;  // the latent that reads token 1 is set to zero: the stream then shows nothing
  const Prompts p = prompts(2);
  const std::vector<int32_t> written = write(p, clamp_edit(dictionary_, 0, targets).get());
  ASSERT_EQ(std::count(written.begin(), written.end(), 1) > 0, true)
      << "token 1 must be written at all";
  for (int64_t e = 0; e < 3; ++e) {
    int32_t token = p.tokens[e * 3 + 2];
    for (int64_t i = 0; i < 6; ++i)
      EXPECT_EQ(written[e * 6 + i], token = token == 1 ? 0 : follower(token));
  }
}

TEST_F(ContinuationTest, BarredTokensAreNeverWrittenAndThreadsChangeNothing) {
  const Prompts p = prompts(3);
  const std::vector<int32_t> free = write(p, nullptr), barred = write(p, nullptr, {free[0]}, 1);
  EXPECT_EQ(std::count(barred.begin(), barred.end(), free[0]), 0);
  EXPECT_EQ(write(p, nullptr, {free[0]}, 2), barred);
}

TEST(ContinuationMeasures, ByHand) {
  const std::vector<int32_t> written = {1, 2, 1, 2, 1}, truth = {1, 2, 9, 1, 2};
  // Behind a 5: pairs (5,1) (1,2) (2,1) (1,2) (2,1) against (5,1) (1,2) (2,9) (9,1) (1,2).
  EXPECT_DOUBLE_EQ(bigram_overlap(5, written, truth), 3.0 / 5);
  EXPECT_DOUBLE_EQ(bigram_overlap(4, written, truth), 3.0 / 5)
      << "both begin behind the same prompt";
  EXPECT_DOUBLE_EQ(bigram_overlap(5, truth, truth), 1);
  EXPECT_DOUBLE_EQ(repetition(written), 1 - 2.0 / 4);
  EXPECT_DOUBLE_EQ(repetition(std::vector<int32_t>{1, 2, 3, 4}), 0);
  EXPECT_EQ(as_words(std::vector<int32_t>{5, 7}), "t5 t7 t5_7 ");
}

/// Corpora over the same words, told apart by which word follows which alone.
TextRows two_corpora(std::vector<int64_t>& entries, std::vector<uint8_t>& corpus) {
  TextRows rows;
  Rng rng(3);
  for (int64_t e = 0; e < 120; ++e) {
    const bool keep = e % 2 == 1;
    entries.push_back(e);
    corpus.push_back(keep);
    rows.text.push_back(e);
    rows.document.push_back(e);
    rows.start.push_back(e * 13);
    rows.rows.push_back(13);
    int32_t token = static_cast<int32_t>(rng.below(11));
    for (int64_t i = 0; i < 13; ++i) {
      rows.tokens.push_back(i == 0 ? 99 : token);
      rows.special.push_back(i == 0);
      token = (token + (keep ? 3 : 5) + static_cast<int32_t>(rng.below(2))) % 11;
    }
  }
  return rows;
}

TEST(WritingExamTest, TheJudgeTellsCorporaByTheirPairsOfWords) {
  std::vector<int64_t> entries;
  std::vector<uint8_t> corpus;
  const TextRows rows = two_corpora(entries, corpus);
  UnlearningTextConfig config;
  config.continuations = 10;
  config.prompt = 4;
  config.generated = 8;
  const std::vector<int64_t> test(entries.begin(), entries.begin() + 40),
      held_out(entries.begin() + 40, entries.end());
  const std::vector<uint8_t> test_corpus(corpus.begin(), corpus.begin() + 40);
  const std::vector<uint8_t> held_out_corpus(corpus.begin() + 40, corpus.end());
  const WritingExam exam(rows, test, test_corpus, held_out, held_out_corpus, config, 1);
  ASSERT_EQ(exam.missing(), "");
  EXPECT_EQ(exam.prompts().count, 20);
  EXPECT_EQ(exam.prompts().length, 5) << "one special token in front";
  EXPECT_GT(exam.judge_auroc(), 0.99);
  const Written truth = exam.grade(exam.truth());
  double right = 0, overlap = 0;
  for (size_t i = 0; i < 40; ++i) {
    EXPECT_EQ(exam.prompted()[i], i < 20);
    right += exam.prompted()[i] && truth.judged[i] == (test_corpus[i] == 0);
    overlap += truth.overlap[i];
  }
  EXPECT_GE(right, 19);
  EXPECT_EQ(overlap, 20);
  // The other corpus's text in place of the own one: verdicts turn, and little of the truth is
  // left.
  std::vector<int32_t> swapped = exam.truth();
  for (int64_t p = 0; p < 20; p += 2)
    std::swap_ranges(swapped.begin() + p * 8, swapped.begin() + (p + 1) * 8,
                     swapped.begin() + (p + 1) * 8);
  const Written other = exam.grade(swapped);
  for (size_t i = 0; i < 20; ++i) EXPECT_EQ(other.judged[i], truth.judged[i ^ 1]);
  EXPECT_LT(*std::max_element(other.overlap.begin(), other.overlap.end()), 0.5);
  config.prompt = 6;
  EXPECT_NE(WritingExam(rows, test, test_corpus, held_out, held_out_corpus, config, 1)
                .missing()
                .find("6 + 8"),
            std::string::npos);
}

}  // namespace
}  // namespace assay::eval::unlearning
