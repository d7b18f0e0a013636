#include "eval/encoding/nulls.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "kernels/base/error.h"
#include "tests/eval/planted_data.h"

namespace assay::eval {
namespace {

class NullsTest : public ::testing::Test {
 protected:
  NullsTest() : folder_("nulls"), planted_(test::make_planted({})) {
    test::write_planted(planted_, folder_.path());
    dataset_ = std::make_unique<data::Dataset>(data::Dataset::open(folder_.path()));
    like_ = test::random_dictionary(24, 300, 8, 6);
  }
  support::TemporaryFolder folder_;
  test::Planted planted_;
  std::unique_ptr<data::Dataset> dataset_;
  sae::Dictionary like_;
};

TEST_F(NullsTest, RandomHasTiedUnitRowsAboutTheMean) {
  const sae::Dictionary null = make_null("random", like_, *dataset_, 1);
  EXPECT_EQ(null.info.n, 300);
  EXPECT_EQ(null.info.k, 8);
  EXPECT_EQ(null.info.null_kind, "random");
  EXPECT_EQ(null.w_enc, null.w_dec);
  EXPECT_EQ(null.b_dec, dataset_->hook("activations").mean);
  double coordinate = 0;
  for (int64_t i = 0; i < 300; ++i) {
    double norm = 0;
    for (int64_t j = 0; j < 24; ++j) norm += std::pow(double(null.w_dec[i * 24 + j]), 2);
    EXPECT_NEAR(norm, 1, 1e-6);
    coordinate += null.w_dec[i * 24];
  }
  EXPECT_NEAR(coordinate / 300, 0, 4 / std::sqrt(24.0 * 300));  // 4 standard errors
  EXPECT_EQ(make_null("random", like_, *dataset_, 1).w_enc, null.w_enc);
  EXPECT_NE(make_null("random", like_, *dataset_, 2).w_enc, null.w_enc);
}

TEST_F(NullsTest, PermutedEncoderKeepsEachRowsWeights) {
  sae::Dictionary null = make_null("permuted_encoder", like_, *dataset_, 1);
  EXPECT_EQ(null.w_dec, like_.w_dec);
  EXPECT_EQ(null.b_enc, like_.b_enc);
  EXPECT_NE(null.w_enc, like_.w_enc);
  sae::Dictionary sorted = like_;
  for (int64_t i = 0; i < 300; ++i) {
    std::sort(null.w_enc.begin() + i * 24, null.w_enc.begin() + (i + 1) * 24);
    std::sort(sorted.w_enc.begin() + i * 24, sorted.w_enc.begin() + (i + 1) * 24);
  }
  EXPECT_EQ(null.w_enc, sorted.w_enc);
}

TEST_F(NullsTest, RateMatchedLatentsFireAsOftenAsTheParents) {
  Context context({Device::cpu, 2});
  const ConstMatrix x(planted_.x.data(), planted_.rows(), 24);
  const auto rates = [&](const sae::Dictionary& dictionary) {
    std::vector<double> counts(300, 0.0);
    const SparseCodes codes = dictionary.encode(context, x);
    for (int64_t row = 0; row < x.rows; ++row)
      for (int64_t p = codes.row_offsets[row]; p < codes.row_offsets[row + 1]; ++p)
        if (!planted_.special[row] && codes.values[p] > 0) ++counts[codes.indices[p]];
    return counts;
  };
  const std::vector<double> parent = rates(like_);
  const auto distance = [&](const char* kind) {
    const std::vector<double> own = rates(make_null(kind, like_, *dataset_, 1));
    double apart = 0, total = 0;
    for (size_t j = 0; j < own.size(); ++j) {
      apart += std::abs(own[j] - parent[j]);
      total += parent[j];
    }
    return apart / total;
  };
  EXPECT_LT(distance("rate_matched"), 0.25);
  EXPECT_GT(distance("random"), 0.5);
  const sae::Dictionary null = make_null("rate_matched", like_, *dataset_, 1);
  EXPECT_EQ(null.w_enc, make_null("random", like_, *dataset_, 1).w_enc);
  EXPECT_EQ(null.b_enc, make_null("rate_matched", like_, *dataset_, 1).b_enc)
      << "same seed, same bits";
}

TEST_F(NullsTest, UnknownKindIsAUsageError) {
  EXPECT_THROW(make_null("magic", like_, *dataset_, 1), UsageError);
}

}  // namespace
}  // namespace assay::eval
