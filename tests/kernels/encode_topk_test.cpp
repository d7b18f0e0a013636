#include "kernels/encode_topk.h"

#include <gtest/gtest.h>

#include <limits>

#include "kernels/error.h"
#include "tests/support/isa.h"
#include "tests/support/kernel_cases.h"
#include "tests/support/reference.h"

namespace assay {
namespace {

using reference::matrix;
using reference::normal;

struct Problem {
  int64_t rows, d, n, k;
  std::vector<float> x, w, bias;

  explicit Problem(const support::EncodeCase& c)
      : rows(c.rows), d(c.d), n(c.n), k(c.k), x(c.x()), w(c.w()), bias(c.bias()) {}
  Problem(int64_t rows_, int64_t d_, int64_t n_, int64_t k_)
      : Problem(support::EncodeCase{"unnamed", rows_, d_, n_, k_}) {}

  SparseCodes encode(Context& context, NumericFlag& flag) const {
    ScreenCopy screen(n, d);
    screen.refresh(context, matrix(w, n, d));
    SparseCodes codes;
    encode_topk(context, matrix(x, rows, d), {matrix(w, n, d), bias.data(), &screen}, k, codes, flag);
    return codes;
  }

  void expect_exact(Context& context) const {
    NumericFlag flag;
    const SparseCodes codes = encode(context, flag);
    EXPECT_FALSE(flag.raised());
    ASSERT_EQ(codes.rows(), rows);
    ASSERT_EQ(codes.pairs(), rows * k);
    for (int64_t i = 0; i < rows; ++i) {
      const auto expected = reference::encode_row(x.data() + i * d, matrix(w, n, d), bias.data(), k);
      for (int64_t c = 0; c < k; ++c) {
        ASSERT_EQ(codes.indices[i * k + c], expected[c].index)
            << "row " << i << " of " << rows << " n " << n << " k " << k;
        ASSERT_EQ(codes.values[i * k + c], expected[c].value) << "row " << i;
      }
    }
  }
};

class EncodeTopkTest : public testing::TestWithParam<Isa> {
 protected:
  EncodeTopkTest() { context_.force_isa(GetParam()); }
  Context context_{{Device::cpu, 2}};
};

TEST_P(EncodeTopkTest, EqualsTheCanonicalWinnersOverShapes) {
  for (const auto& c : support::kEncodeCases) Problem(c).expect_exact(context_);
}

TEST_P(EncodeTopkTest, TiesGoToTheSmallerIndex) {
  Problem problem(20, 24, 640, 12);
  // Latents come in groups of eight equal rows, so ties cross the edge of the selection.
  for (int64_t j = 0; j < problem.n; ++j) {
    std::copy_n(problem.w.begin() + j / 8 * 8 * problem.d, problem.d, problem.w.begin() + j * problem.d);
    problem.bias[j] = problem.bias[j / 8 * 8];
  }
  problem.expect_exact(context_);
}

TEST_P(EncodeTopkTest, AllEqualScoresTakeTheExactPath) {
  Problem problem(3, 16, 4000, 32);
  std::fill(problem.x.begin(), problem.x.end(), 0.0f);
  std::fill(problem.bias.begin(), problem.bias.end(), 0.25f);
  problem.expect_exact(context_);
}

TEST_P(EncodeTopkTest, NearTiesBelowBf16ResolutionAreExact) {
  Problem problem(16, 96, 5000, 32);
  // Rows differ from one direction by less than bf16 can tell apart.
  const auto base = normal(problem.d, 9);
  for (int64_t j = 0; j < problem.n; ++j) {
    for (int64_t i = 0; i < problem.d; ++i)
      problem.w[j * problem.d + i] = base[i] * (1 + 1e-5f * problem.w[j * problem.d + i]);
    problem.bias[j] = 0;
  }
  problem.expect_exact(context_);
}

TEST_P(EncodeTopkTest, ScalesFromTinyToHugeAreExact) {
  for (const float scale : {1e-12f, 1e-3f, 1e6f, 1e12f}) {
    Problem problem(8, 40, 500, 10);
    for (float& v : problem.x) v *= scale;
    for (int64_t j = 0; j < problem.n; j += 3) {
      for (int64_t i = 0; i < problem.d; ++i) problem.w[j * problem.d + i] *= 1e-4f;
    }
    problem.expect_exact(context_);
  }
}

TEST_P(EncodeTopkTest, RisingScoresExerciseTheThreshold) {
  Problem problem(4, 8, 8192, 64);
  for (int64_t j = 0; j < problem.n; ++j) problem.bias[j] = 0.01f * static_cast<float>(j);
  problem.expect_exact(context_);
}

TEST_P(EncodeTopkTest, NanRowIsFlaggedAndTheOthersStand) {
  Problem problem(50, 20, 300, 8);
  problem.x[17 * problem.d + 3] = std::numeric_limits<float>::quiet_NaN();
  problem.x[30 * problem.d + 3] = std::numeric_limits<float>::infinity();
  NumericFlag flag;
  const SparseCodes codes = problem.encode(context_, flag);
  EXPECT_EQ(flag.row(), 17);
  for (int64_t c = 0; c < problem.k; ++c) {
    EXPECT_EQ(codes.indices[17 * problem.k + c], c);
    EXPECT_EQ(codes.values[17 * problem.k + c], 0);
  }
  const auto expected = reference::encode_row(problem.x.data() + 18 * problem.d,
                                              matrix(problem.w, problem.n, problem.d), problem.bias.data(), problem.k);
  EXPECT_EQ(codes.indices[18 * problem.k], expected[0].index);
}

TEST_P(EncodeTopkTest, NanWeightsAreFlagged) {
  for (const bool in_bias : {false, true}) {
    Problem problem(5, 20, 300, 8);
    (in_bias ? problem.bias[7] : problem.w[7 * problem.d]) = std::numeric_limits<float>::quiet_NaN();
    NumericFlag flag;
    problem.encode(context_, flag);
    EXPECT_EQ(flag.row(), 0);
  }
}

INSTANTIATE_TEST_SUITE_P(Isa, EncodeTopkTest, testing::ValuesIn(support::available_isas()), support::isa_name);

TEST(EncodeTopk, SameBitsOnAnyNumberOfThreads) {
  const Problem problem(333, 64, 2000, 24);
  NumericFlag flag;
  Context one({Device::cpu, 1});
  const SparseCodes expected = problem.encode(one, flag);
  for (const int threads : {2, 3, 7}) {
    Context many({Device::cpu, threads});
    const SparseCodes codes = problem.encode(many, flag);
    EXPECT_EQ(codes.indices, expected.indices);
    EXPECT_EQ(codes.values, expected.values);
  }
}

TEST(EncodeTopk, RefusesShapesThatDoNotFit) {
  Context context({Device::cpu, 1});
  NumericFlag flag;
  EXPECT_THROW(Problem(2, 8, 16, 17).encode(context, flag), UsageError);
  EXPECT_THROW(Problem(2, 8, 16, 0).encode(context, flag), UsageError);
}

}  // namespace
}  // namespace assay
