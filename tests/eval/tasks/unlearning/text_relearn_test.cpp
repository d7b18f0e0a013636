// The relearning attack on a model of one weight, whose training can be followed by hand.
#include "eval/tasks/unlearning/text_relearn.h"

#include <gtest/gtest.h>

#include <cmath>

#include "kernels/base/error.h"

namespace assay::eval::unlearning {
namespace {

constexpr int64_t kD = 2;

/// The loss of a token is (weight − first dimension of the token before it)²; a step goes down its
/// gradient.
class OneWeight : public sae::TrainableLossHalf {
 public:
  explicit OneWeight(std::vector<float>* seen) : seen_(seen) {}
  int64_t d() const override { return kD; }
  void run(const float* x, const int64_t*, const int64_t* mask, int64_t batch, int64_t length,
           float* loss) const override {
    for (int64_t i = 0; i < batch * length; ++i) {
      const double off = i % length && mask[i] ? weight_ - x[(i - 1) * kD] : 0;
      loss[i] = static_cast<float>(off * off);
    }
  }
  void step(const float* x, const int64_t* ids, const int64_t* mask, const float* weights,
            int64_t batch, int64_t length, double rate) override {
    double gradient = 0, total = 0;
    for (int64_t i = 0; i < batch * length; ++i) {
      total += weights[i];
      if (weights[i] > 0) {
        EXPECT_TRUE(mask[i] && i % length);
        gradient += weights[i] * 2 * (weight_ - x[(i - 1) * kD]);
      }
      if (i % length == 0) seen_->push_back(static_cast<float>(ids[i]));
    }
    EXPECT_NEAR(total, 1, 1e-6) << "the mean loss of ordinary tokens";
    weight_ -= rate * 100 * gradient;
  }

 private:
  std::vector<float>* seen_;
  double weight_ = 0;
};

/// Text e has e + 3 tokens, its number first, and the value 1 everywhere; the token before the last
/// is special.
UnlearningCorpus corpus_of(int64_t texts) {
  UnlearningCorpus corpus;
  TextRows& rows = corpus.rows;
  rows.d = kD;
  for (int64_t e = 0; e < texts; ++e) {
    rows.text.push_back(e);
    rows.start.push_back(static_cast<int64_t>(rows.tokens.size()));
    rows.rows.push_back(e % 4 + 3);
    for (int64_t t = 0; t < rows.rows.back(); ++t) {
      rows.tokens.push_back(static_cast<int32_t>(t == 0 ? e : 500 + t));
      rows.special.push_back(t + 2 == rows.rows.back());
      rows.x.insert(rows.x.end(), {1, 0});
    }
  }
  return corpus;
}

TEST(Relearning, ItIsTheTrainingItSaysAndTheBetterRateCounts) {
  const UnlearningCorpus corpus = corpus_of(20);
  std::vector<float> seen;
  const auto make = [&] { return std::make_unique<OneWeight>(&seen); };
  const Relearned got = relearn(make, corpus, {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11}, {12, 13},
                                {14, 15, 16}, nullptr, 2);
  EXPECT_EQ(got.texts, 12);
  EXPECT_EQ(got.rate, kRelearnRates[1]) << "with the smaller one this weight has hardly moved";
  double weight = 0;
  for (int64_t s = 0; s < kRelearnSteps; ++s) weight -= kRelearnRates[1] * 100 * 2 * (weight - 1);
  const double each = (weight - 1) * (weight - 1);
  EXPECT_NEAR(got.own_loss, each, 1e-6);
  for (size_t i = 0; i < 3; ++i)  // less the first and the special one
    EXPECT_NEAR(got.losses[i], each * static_cast<double>((14 + i) % 4 + 1), 1e-6);
  ASSERT_EQ(std::ssize(seen), 2 * kRelearnSteps * kRelearnBatch) << "two rates";
  for (int64_t i = 0; i < kRelearnSteps * kRelearnBatch; ++i)
    EXPECT_EQ(seen[i], i % 12) << "texts in turn";
}

TEST(Relearning, TheEditIsHeldWhileTrainingAndWhileTesting) {
  const UnlearningCorpus corpus = corpus_of(8);
  std::vector<float> seen;
  const auto make = [&] { return std::make_unique<OneWeight>(&seen); };
  const auto edit = shift_edit({3, 0}, 1);
  const Relearned got = relearn(make, corpus, {0, 4}, {1}, {2}, edit.get(), 4);
  // Text 0 has tokens 0, special, 2: the loss of the last is read behind the special one, which no
  // edit touches.
  double weight = 0;
  for (int64_t s = 0; s < kRelearnSteps; ++s) weight -= kRelearnRates[1] * 100 * 2 * (weight - 1);
  EXPECT_NEAR(got.own_loss, (weight - 1) * (weight - 1), 1e-6);
  // Text 2 has five tokens; the first three are ordinary and edited: two losses see 4, the last one
  // 1.
  const double far = 4 - weight, near = 1 - weight;
  EXPECT_NEAR(got.losses[0], 2 * far * far + near * near, 1e-4);
}

TEST(Relearning, MoreTextsThanABatchAreAllUsed) {
  const UnlearningCorpus corpus = corpus_of(12);
  std::vector<float> seen;
  const auto make = [&] { return std::make_unique<OneWeight>(&seen); };
  relearn(make, corpus, {3}, {1}, {2}, nullptr, 4);
  for (const float text : seen) EXPECT_EQ(text, 3) << "one text makes batches of one";
  EXPECT_EQ(std::ssize(seen), 2 * kRelearnSteps);
}

}  // namespace
}  // namespace assay::eval::unlearning
