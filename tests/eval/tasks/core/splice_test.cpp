#include "eval/tasks/core/splice.h"

#include <gtest/gtest.h>

#include <cmath>

#include "kernels/base/error.h"
#include "tests/eval/eval_session.h"
#include "tests/eval/mean_half.h"

namespace assay::eval::core {
namespace {

constexpr int64_t kD = 24;

class SpliceTest : public ::testing::Test {
 protected:
  explicit SpliceTest(bool whole = true)
      : fixture_("splice", {.whole_texts = whole}), table_(text_table(*fixture_.dataset)) {}

  std::vector<SpliceLoss> losses(const sae::Dictionary& dictionary, int64_t batch) {
    const sae::Dictionary* list[] = {&dictionary};
    return splice_losses(fixture_.context, *fixture_.dataset, table_, {9, 2, 30, 31, 32, 5}, list,
                         fixture_.dataset->hook("activations").mean, test::MeanHalf(kD), batch);
  }
  test::SessionFixture fixture_;
  TextTable table_;
};

TEST_F(SpliceTest, APerfectDictionaryLosesNothing) {
  for (const SpliceLoss& loss : losses(test::identity_dictionary(kD, 2 * kD), 4)) {
    EXPECT_NEAR(loss.dictionaries[0], 0, 1e-6);
    EXPECT_GT(loss.zero, 1e-3);
    EXPECT_GT(loss.mean, 1e-3);
  }
}

TEST_F(SpliceTest, LossesEqualTheNaiveOnes) {
  const sae::Dictionary dictionary = test::random_dictionary(kD, 80, 6, 3);
  const auto result = losses(dictionary, 4);
  EXPECT_EQ(result[1].document, table_.document[2]);
  const test::Planted& p = fixture_.planted;
  std::vector<float> clean, zero, spliced;
  for (int64_t r = 0; r < p.rows(); ++r) {
    if (p.text[r] != 2) continue;
    const float* x = p.x.data() + r * kD;
    clean.insert(clean.end(), x, x + kD);
    zero.insert(zero.end(), x, x + kD);
    spliced.insert(spliced.end(), x, x + kD);
    if (p.special[r]) continue;
    std::fill(zero.end() - kD, zero.end(), 0.0f);
    dictionary.decode(fixture_.context, dictionary.encode(fixture_.context, ConstMatrix(x, 1, kD)),
                      Matrix(&*(spliced.end() - kD), 1, kD));
  }
  const int64_t tokens = std::ssize(clean) / kD;
  const std::vector<int64_t> mask(static_cast<size_t>(tokens), 1);
  const auto loss = [&](const std::vector<float>& changed) {
    std::vector<float> a(kD), b(kD);
    test::MeanHalf(kD).run(clean.data(), mask.data(), 1, tokens, a.data());
    test::MeanHalf(kD).run(changed.data(), mask.data(), 1, tokens, b.data());
    double aa = 0, bb = 0, ab = 0;
    for (int64_t j = 0; j < kD; ++j)
      aa += double(a[j]) * a[j], bb += double(b[j]) * b[j], ab += double(a[j]) * b[j];
    return 1 - ab / std::sqrt(aa * bb);
  };
  EXPECT_NEAR(result[1].zero, loss(zero), 1e-9);
  EXPECT_NEAR(result[1].dictionaries[0], loss(spliced), 1e-6);
}

TEST_F(SpliceTest, BatchSizeChangesNothing) {
  const sae::Dictionary dictionary = test::random_dictionary(kD, 80, 6, 3);
  const auto one = losses(dictionary, 1), four = losses(dictionary, 4);
  for (size_t i = 0; i < one.size(); ++i) {
    EXPECT_DOUBLE_EQ(one[i].zero, four[i].zero);
    EXPECT_DOUBLE_EQ(one[i].dictionaries[0], four[i].dictionaries[0]);
  }
}

TEST_F(SpliceTest, TextsAreOfTheValidationSplit) {
  const data::SplitRule rule{0.2, 0.1, 0};
  const auto texts = choose_splice_texts(table_, rule, 20, 1);
  EXPECT_EQ(texts.size(), 20u);
  for (const int64_t t : texts)
    EXPECT_EQ(data::split_of(table_.document[t], rule), data::Split::validation);
}

class CutTextTest : public SpliceTest {
 protected:
  CutTextTest() : SpliceTest(false) {}
};

TEST_F(CutTextTest, ATextWithoutItsBeginningIsRefused) {
  EXPECT_THROW(losses(test::identity_dictionary(kD, 2 * kD), 4), Error);
}

}  // namespace
}  // namespace assay::eval::core
