// Edits of texts: clamping, padding and gates.
#include "eval/tasks/unlearning/edit.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "eval/tasks/unlearning/run.h"
#include "kernels/base/error.h"
#include "tests/eval/tasks/unlearning/unlearning_session.h"

namespace assay::eval::unlearning {
namespace {

/// A lower half that puts a token's id into every dimension.
class TokenHalf : public data::LowerHalf {
 public:
  int64_t d() const override { return kD; }
  void run(const int64_t* ids, const int64_t* mask, int64_t batch, int64_t length,
           float* out) override {
    for (int64_t i = 0; i < batch * length; ++i)
      std::fill_n(out + i * kD, kD, mask[i] ? static_cast<float>(ids[i]) : -1);
  }
};

TEST_F(UnlearningTest, PaddingGoesBehindTheLastOrdinaryToken) {
  const std::vector<int64_t> texts = plan().texts[0][kTest], from = plan().texts[1][kEstimate];
  std::vector<int64_t> both = texts;
  both.insert(both.end(), from.begin(), from.end());
  const TextRows rows = read_text_rows(*fixture_.dataset, table_, both);
  TokenHalf lower;
  const TextRows padded = pad_texts(fixture_.context, rows, texts, from, 4, lower, 8, 1);
  ASSERT_EQ(padded.size(), std::ssize(texts));
  for (int64_t e = 0; e < padded.size(); ++e) {
    const int64_t own = rows.entry(padded.text[e]), size = rows.rows[own];
    ASSERT_EQ(padded.rows[e], size + 4);
    for (int64_t i = 0; i < size + 4; ++i) {
      const int64_t row = padded.start[e] + i;
      const bool filler =
          i >= size - 1 && i < size + 3;  // a planted text ends with one special token
      const int64_t source = rows.start[own] + (i < size - 1 ? i : i - 4);
      EXPECT_EQ(padded.special[row], filler ? 0 : rows.special[source]);
      if (!filler) {
        EXPECT_EQ(padded.tokens[row], rows.tokens[source]);
      }
      EXPECT_EQ(padded.x[row * kD + 3], static_cast<float>(padded.tokens[row]));
    }
  }
}

TEST_F(UnlearningTest, APaddedGateIsReported) {
  UnlearningInputs in = inputs();
  TokenHalf lower;
  in.lower = &lower;
  in.max_length = 64;
  const TaskResult result = report(run_unlearning(in, plan(), 5));
  EXPECT_NE(test::find(result, "edited_share", "gated_steering", "", "forget_padded"), nullptr);
  EXPECT_NE(test::find(result, "forget_drop", "latents_gated", "oracle", "few_shot_8_padded"),
            nullptr);
  EXPECT_EQ(test::find(result, "forget_drop", "latents", "oracle", "few_shot_8_padded"), nullptr)
      << "has no gate";
  in.max_length = 8;
  EXPECT_THROW(run_unlearning(in, plan(), 5), Error);
}

TEST_F(UnlearningTest, ClampingIsTheClosedFormAndAClosedGateChangesNothing) {
  const sae::Dictionary dictionary = test::random_dictionary(kD, 60, 8, 5);
  const sae::Dictionary* list[] = {&dictionary};
  const UnlearningPlan p = plan();
  const UnlearningCorpus corpus = make_corpus(
      fixture_.context, read_text_rows(*fixture_.dataset, table_, p.texts[0][kEstimate]), list);
  LatentTargets targets{std::vector<uint8_t>(60, 0), std::vector<float>(60, 0.0f)};
  for (int64_t j = 0; j < 60; j += 2)
    targets.chosen[j] = 1, targets.target[j] = -0.25f * static_cast<float>(j);
  const auto edit = clamp_edit(dictionary, 0, targets);
  for (int64_t e = 0; e < 5; ++e) {
    const int64_t start = corpus.rows.start[e], size = corpus.rows.rows[e];
    std::vector<float> rows(corpus.rows.x.begin() + start * kD,
                            corpus.rows.x.begin() + (start + size) * kD);
    edit->apply(corpus, e, Matrix(rows.data(), size, kD));
    for (int64_t i = 0; i < size; ++i) {
      std::vector<double> expected(corpus.rows.x.begin() + (start + i) * kD,
                                   corpus.rows.x.begin() + (start + i + 1) * kD);
      const SparseCodes codes =
          dictionary.encode(fixture_.context, ConstMatrix(corpus.rows.all().row(start + i), 1, kD));
      for (int64_t q = 0; q < codes.pairs() && !corpus.rows.special[start + i]; ++q) {
        const int32_t j = codes.indices[q];
        if (j % 2 || codes.values[q] <= 0) continue;
        for (int64_t k = 0; k < kD; ++k)
          expected[k] +=
              (targets.target[j] - codes.values[q]) * double(dictionary.w_dec[j * kD + k]);
      }
      for (int64_t k = 0; k < kD; ++k) EXPECT_NEAR(rows[i * kD + k], expected[k], 1e-3);
    }
    const auto closed =
        latent_gated_edit(clamp_edit(dictionary, 0, targets), 0, targets.chosen, 1.0);
    EXPECT_FALSE(closed->touches(corpus, e));
  }
}

}  // namespace
}  // namespace assay::eval::unlearning
