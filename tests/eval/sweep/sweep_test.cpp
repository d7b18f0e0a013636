#include "eval/sweep/sweep.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>

#include "kernels/base/random.h"
#include "tests/eval/eval_session.h"

namespace assay::eval {
namespace {

constexpr int64_t kD = 24, kN = 60, kK = 8, kRows = 300;

struct Naive {
  double fvu = 0, l0 = 0, dead_share = 0;
};

/// Densely, in double, straight from the definitions.
Naive naive(const sae::Dictionary& dictionary, const std::vector<float>& x) {
  std::vector<double> mean(kD);
  for (size_t i = 0; i < x.size(); ++i) mean[i % kD] += x[i] / kRows;
  std::vector<bool> fired(kN);
  double error = 0, deviation = 0, active = 0;
  for (int64_t i = 0; i < kRows; ++i) {
    const float* row = x.data() + i * kD;
    std::vector<double> pre(dictionary.b_enc.begin(), dictionary.b_enc.end());
    for (int64_t j = 0; j < kN; ++j)
      for (int64_t c = 0; c < kD; ++c)
        pre[j] +=
            static_cast<double>(dictionary.w_enc[j * kD + c]) * (row[c] - dictionary.b_dec[c]);
    std::vector<int64_t> order(kN);
    std::iota(order.begin(), order.end(), int64_t{0});
    std::sort(order.begin(), order.end(), [&](int64_t a, int64_t b) { return pre[a] > pre[b]; });
    std::vector<double> out(dictionary.b_dec.begin(), dictionary.b_dec.end());
    for (int64_t r = 0; r < kK && pre[order[r]] > 0; ++r) {
      const int64_t j = order[r];
      fired[j] = true;
      ++active;
      for (int64_t c = 0; c < kD; ++c) out[c] += pre[j] * dictionary.w_dec[j * kD + c];
    }
    for (int64_t c = 0; c < kD; ++c) {
      error += (row[c] - out[c]) * (row[c] - out[c]);
      deviation += (row[c] - mean[c]) * (row[c] - mean[c]);
    }
  }
  return {error / deviation, active / kRows,
          std::count(fired.begin(), fired.end(), false) / double(kN)};
}

class Sweep : public testing::Test {
 protected:
  Sweep() {
    Rng rng(8);
    for (float& value : x_) value = static_cast<float>(rng.normal());
  }

  void add(const std::string& name, uint64_t seed, const sae::Dictionary& dictionary) {
    dictionary.save(folder_.path() / name / "dictionary");
    results_.dictionaries.push_back({name, "topk", kN, kK, 0, seed, "", ""});
  }

  support::TemporaryFolder folder_{"sweep"};
  std::vector<float> x_ = std::vector<float>(kRows * kD);
  SweepResults results_;
  Context context_{{Device::cpu, 2}};
};

TEST_F(Sweep, MeasuresByTheDefinitions) {
  sae::Dictionary dictionary = test::random_dictionary(kD, kN, kK, 5);
  for (int64_t j = 0; j < 7; ++j) dictionary.b_enc[j] = -1e6f;  // dead
  add("a", 0, dictionary);
  measure_sweep(context_, folder_.path(), {x_.data(), kRows, kD}, results_);
  const Naive expected = naive(dictionary, x_);
  EXPECT_GE(expected.dead_share, 7.0 / kN);
  EXPECT_NEAR(results_.dictionaries[0].fvu, expected.fvu, 1e-5 * expected.fvu);
  EXPECT_NEAR(results_.dictionaries[0].l0, expected.l0, 1e-9);
  EXPECT_EQ(results_.dictionaries[0].dead_share, expected.dead_share);
  EXPECT_EQ(results_.dictionaries[0].hash, dictionary.hash());
  EXPECT_TRUE(results_.agreements.empty());
}

TEST_F(Sweep, SeedsOfOneSettingAgreeWhereTheirLatentsDo) {
  const sae::Dictionary a = test::random_dictionary(kD, kN, kK, 5);
  add("a", 0, a);
  add("again", 1, a);
  add("other", 2, test::random_dictionary(kD, kN, kK, 99));
  add("elsewhere", 3, a);
  results_.dictionaries[3].k = kK + 1;  // another setting
  results_.dictionaries.push_back({"lost", "topk", kN, kK, 0, 4, "diverged", ""});
  measure_sweep(context_, folder_.path(), {x_.data(), kRows, kD}, results_);
  ASSERT_EQ(results_.agreements.size(), 3u);
  EXPECT_EQ(results_.agreements[0].second, "again");
  EXPECT_EQ(results_.agreements[0].shared, results_.agreements[0].latents);
  EXPECT_GT(results_.agreements[0].latents, kN / 2);
  EXPECT_EQ(results_.agreements[1].second, "other");
  EXPECT_LT(results_.agreements[1].shared, results_.agreements[1].latents / 4);
}

}  // namespace
}  // namespace assay::eval
