// encode_threshold, encode_batch_topk and ranked encode_topk against canonical scores taken one by
// one.
#include "kernels/encode_threshold.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <tuple>

#include "kernels/base/error.h"
#include "kernels/encode_batch_topk.h"
#include "tests/support/encode_expect.h"
#include "tests/support/isa.h"
#include "tests/support/reference.h"

namespace assay {
namespace {

using reference::matrix;
using reference::normal;

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

struct Problem {
  int64_t rows, d, n;
  std::vector<float> x, w, bias, theta, scale;

  Problem(int64_t rows_, int64_t d_, int64_t n_, float theta_ = 1.0f)
      : rows(rows_),
        d(d_),
        n(n_),
        x(normal(rows * d, 1)),
        w(normal(n * d, 2, 1 / std::sqrt(static_cast<float>(d)))),
        bias(normal(n, 3, 0.1f)),
        theta(normal(n, 4, 0.2f)),
        scale(normal(n, 5)) {
    for (float& t : theta) t += theta_;
    for (float& s : scale) s = 0.5f + std::abs(s);
  }

  ConstMatrix input() const { return matrix(x, rows, d); }
  ScreenCopy copy(Context& context) const {
    ScreenCopy screen(n, d);
    screen.refresh(context, matrix(w, n, d));
    return screen;
  }
  Encoder encoder(const ScreenCopy& screen, bool scaled) const {
    return {matrix(w, n, d), bias.data(), &screen, scaled ? scale.data() : nullptr};
  }
  float pre(int64_t i, int64_t j) const {
    return reference::canonical_dot(x.data() + i * d, w.data() + j * d, d) + bias[j];
  }
};

struct Pair {
  int64_t row;
  int32_t index;
  float value, pre, rank;
};

void expect_pairs(const SparseCodes& codes, int64_t rows, const std::vector<Pair>& expected) {
  ASSERT_EQ(codes.rows(), rows);
  ASSERT_EQ(codes.pairs(), static_cast<int64_t>(expected.size()));
  size_t p = 0;
  for (int64_t i = 0; i < rows; ++i) {
    for (auto at = static_cast<size_t>(codes.row_offsets[i]);
         at < static_cast<size_t>(codes.row_offsets[i + 1]); ++at, ++p) {
      ASSERT_EQ(expected[p].row, i) << "pair " << p;
      ASSERT_EQ(codes.indices[p], expected[p].index) << "pair " << p;
      ASSERT_EQ(codes.values[p], expected[p].value) << "pair " << p;
    }
  }
}

class ThresholdCaseTest : public testing::TestWithParam<std::tuple<Isa, support::ThresholdCase>> {};

TEST_P(ThresholdCaseTest, HasTheCanonicalPairs) {
  const auto& [isa, threshold] = GetParam();
  const support::EncodeCase& c = threshold.encode;
  Context context({Device::cpu, 2});
  context.force_isa(isa);
  const auto x = c.x(), w = c.w(), bias = c.bias(), theta = threshold.theta();
  ScreenCopy screen(c.n, c.d);
  screen.refresh(context, matrix(w, c.n, c.d));
  SparseCodes codes;
  std::vector<float> pre;
  NumericFlag flag;
  encode_threshold(context, matrix(x, c.rows, c.d), {matrix(w, c.n, c.d), bias.data(), &screen},
                   theta.data(), threshold.band, codes, &pre, flag);
  support::expect_threshold(threshold, codes, pre, flag.row());
}

INSTANTIATE_TEST_SUITE_P(Cases, ThresholdCaseTest,
                         testing::Combine(testing::ValuesIn(support::available_isas()),
                                          testing::ValuesIn(support::kThresholdCases)),
                         [](const auto& test) {
                           return support::isa_name(
                                      testing::TestParamInfo<Isa>(std::get<0>(test.param), 0)) +
                                  "_" + std::get<1>(test.param).name;
                         });

class SelectionTest : public testing::TestWithParam<Isa> {
 protected:
  SelectionTest() { context_.force_isa(GetParam()); }

  void expect_threshold(const Problem& p, float band) {
    std::vector<Pair> expected;
    for (int64_t i = 0; i < p.rows; ++i) {
      for (int64_t j = 0; j < p.n; ++j) {
        const float pre = p.pre(i, j);
        const bool active = pre > p.theta[j];
        if (!active && !(std::abs(pre - p.theta[j]) < band / 2)) continue;
        expected.push_back({i, static_cast<int32_t>(j), active ? pre : 0, pre, 0});
      }
    }
    const ScreenCopy screen = p.copy(context_);
    SparseCodes codes;
    std::vector<float> pre;
    NumericFlag flag;
    encode_threshold(context_, p.input(), p.encoder(screen, false), p.theta.data(), band, codes,
                     &pre, flag);
    EXPECT_FALSE(flag.raised());
    expect_pairs(codes, p.rows, expected);
    ASSERT_EQ(pre.size(), expected.size());
    for (size_t e = 0; e < pre.size(); ++e) EXPECT_EQ(pre[e], expected[e].pre);
  }

  void expect_batch(const Problem& p, int64_t budget, bool scaled) {
    std::vector<Pair> all;
    for (int64_t i = 0; i < p.rows; ++i) {
      for (int64_t j = 0; j < p.n; ++j) {
        const float pre = p.pre(i, j), positive = std::max(pre, 0.0f);
        const float rank = scaled ? positive * p.scale[j] : positive;
        if (rank > 0) all.push_back({i, static_cast<int32_t>(j), pre, pre, rank});
      }
    }
    std::stable_sort(all.begin(), all.end(),
                     [](const Pair& a, const Pair& b) { return a.rank > b.rank; });
    all.resize(std::min(all.size(), static_cast<size_t>(budget)));
    std::sort(all.begin(), all.end(), [](const Pair& a, const Pair& b) {
      return a.row < b.row || (a.row == b.row && a.index < b.index);
    });
    const ScreenCopy screen = p.copy(context_);
    SparseCodes codes;
    NumericFlag flag;
    encode_batch_topk(context_, p.input(), p.encoder(screen, scaled), budget, codes, flag);
    EXPECT_FALSE(flag.raised());
    expect_pairs(codes, p.rows, all);
  }

  Context context_{{Device::cpu, 2}};
};

TEST_P(SelectionTest, ThresholdEqualsTheCanonicalPairs) {
  for (const auto& [rows, d, n] :
       {std::array<int64_t, 3>{1, 1, 1}, {3, 7, 33}, {200, 31, 300}, {0, 8, 16}, {9, 64, 2049}}) {
    for (const float band : {0.0f, 0.05f, 3.0f}) expect_threshold(Problem(rows, d, n), band);
  }
}

TEST_P(SelectionTest, ThresholdIsStrictAndDecidedExactly) {
  Problem p(30, 40, 200);
  for (int64_t j = 0; j < p.n; ++j)
    p.theta[j] = p.pre(j % p.rows, j);  // equal in one row: not active there
  expect_threshold(p, 0);
  for (int64_t j = 0; j < p.n; ++j) {  // bias and θ cancel to far below their own size
    p.bias[j] = 1e4f;
    p.theta[j] = 1e4f + 0.5f;
  }
  expect_threshold(p, 1e-3f);
}

TEST_P(SelectionTest, ThresholdFlagsWhatIsNotFinite) {
  Problem p(50, 20, 300);
  p.x[17 * p.d + 3] = kNan;
  p.x[30 * p.d + 3] = std::numeric_limits<float>::infinity();
  const ScreenCopy screen = p.copy(context_);
  SparseCodes codes;
  NumericFlag flag;
  encode_threshold(context_, p.input(), p.encoder(screen, false), p.theta.data(), 0, codes, nullptr,
                   flag);
  EXPECT_EQ(flag.row(), 17);
  for (const int64_t row : {17, 30}) EXPECT_EQ(codes.row_offsets[row], codes.row_offsets[row + 1]);
  EXPECT_GT(codes.row_offsets[17], codes.row_offsets[16]);
}

TEST_P(SelectionTest, ThresholdTakesLargeWeightsAndFlagsOnlyRowsThatOverflow) {
  Problem p(12, 20, 300);
  for (int64_t i = 0; i < 5 * p.d; ++i) p.w[i] *= 1e20f;  // finite; their squares are not
  p.bias[7] = -3e38f;
  p.theta[7] = 3e38f;  // their distance is not
  expect_threshold(p, 0.1f);
  expect_batch(p, 50, false);
  for (int64_t c = 0; c < p.d; ++c) p.x[4 * p.d + c] *= 1e30f;
  const ScreenCopy screen = p.copy(context_);
  SparseCodes codes;
  NumericFlag flag;
  encode_threshold(context_, p.input(), p.encoder(screen, false), p.theta.data(), 0, codes, nullptr,
                   flag);
  EXPECT_EQ(flag.row(), 4);
  EXPECT_EQ(codes.row_offsets[4], codes.row_offsets[5]);
  EXPECT_GT(codes.row_offsets[12], codes.row_offsets[5]);
}

TEST_P(SelectionTest, AThresholdThatIsNotFiniteFlagsEveryRow) {
  Problem p(5, 20, 300);
  p.theta[9] = kNan;
  const ScreenCopy screen = p.copy(context_);
  SparseCodes codes;
  NumericFlag flag;
  encode_threshold(context_, p.input(), p.encoder(screen, false), p.theta.data(), 0, codes, nullptr,
                   flag);
  EXPECT_EQ(flag.row(), 0);
  EXPECT_EQ(codes.rows(), 5);
  EXPECT_EQ(codes.pairs(), 0);
}

TEST_P(SelectionTest, BatchEqualsTheCanonicalPairs) {
  for (const bool scaled : {false, true}) {
    expect_batch(Problem(1, 8, 40), 1, scaled);
    expect_batch(Problem(60, 24, 500), 60 * 8, scaled);
    expect_batch(Problem(60, 24, 500), 7, scaled);              // less than one a row
    expect_batch(Problem(5, 16, 100), 500, scaled);             // all: only the positive ones come
    expect_batch(Problem(250, 16, 130), 250 * 20 + 3, scaled);  // the budget does not divide
  }
}

TEST_P(SelectionTest, BatchSearchesCrowdedRowsInFull) {
  for (const bool scaled : {false, true}) {
    Problem p(64, 24, 700);
    for (const int64_t row : {0, 9, 63}) {  // three rows hold nearly the whole budget
      for (int64_t c = 0; c < p.d; ++c) p.x[row * p.d + c] *= 30;
    }
    expect_batch(p, 64 * 4, scaled);
  }
}

TEST_P(SelectionTest, BatchOfFewRowsAllPositiveAndOthersEmpty) {
  Problem p(40, 24, 700);
  for (int64_t row = 0; row < p.rows; ++row) {
    for (int64_t j = 0; j < p.n && row == 0; ++j) p.bias[j] = -1e3f + static_cast<float>(j % 7);
    std::fill_n(p.x.begin() + row * p.d, p.d, 0.0f);
  }
  for (int64_t j = 0; j < p.n; ++j) p.w[j * p.d] = 2;
  for (const int64_t row : {3, 31})
    p.x[row * p.d] = 1e4f;  // every latent is active here, none elsewhere
  for (const int64_t budget : {40 * 4, 2 * 700, 3 * 700}) expect_batch(p, budget, false);
}

TEST_P(SelectionTest, BatchTiesGoToTheSmallerRowThenIndex) {
  Problem p(40, 24, 320);
  for (int64_t j = 0; j < p.n; ++j) {
    std::copy_n(p.w.begin() + j / 8 * 8 * p.d, p.d, p.w.begin() + j * p.d);
    p.bias[j] = p.bias[j / 8 * 8];
  }
  for (int64_t i = 0; i < p.rows; ++i)
    std::copy_n(p.x.begin() + i / 4 * 4 * p.d, p.d, p.x.begin() + i * p.d);
  for (const int64_t budget : {37, 40 * 6 + 1, 40 * 9 + 5}) expect_batch(p, budget, false);
}

TEST_P(SelectionTest, BatchFlagsWhatIsNotFinite) {
  Problem p(10, 20, 300);
  p.x[7 * p.d] = kNan;
  const ScreenCopy screen = p.copy(context_);
  SparseCodes codes;
  NumericFlag flag;
  encode_batch_topk(context_, p.input(), p.encoder(screen, false), 40, codes, flag);
  EXPECT_EQ(flag.row(), 7);
  EXPECT_EQ(codes.rows(), 10);
  EXPECT_EQ(codes.pairs(), 0);
}

TEST_P(SelectionTest, RankScaleChoosesByScaledValue) {
  const Problem p(50, 24, 700);
  constexpr int64_t k = 9;
  const ScreenCopy screen = p.copy(context_);
  SparseCodes codes;
  NumericFlag flag;
  encode_topk(context_, p.input(), p.encoder(screen, true), k, codes, flag);
  std::vector<Pair> expected;
  for (int64_t i = 0; i < p.rows; ++i) {
    std::vector<Pair> row;
    for (int64_t j = 0; j < p.n; ++j) {
      row.push_back({i, static_cast<int32_t>(j), p.pre(i, j), 0, p.pre(i, j) * p.scale[j]});
    }
    std::stable_sort(row.begin(), row.end(),
                     [](const Pair& a, const Pair& b) { return a.rank > b.rank; });
    row.resize(k);
    std::sort(row.begin(), row.end(),
              [](const Pair& a, const Pair& b) { return a.index < b.index; });
    expected.insert(expected.end(), row.begin(), row.end());
  }
  expect_pairs(codes, p.rows, expected);
}

INSTANTIATE_TEST_SUITE_P(Isa, SelectionTest, testing::ValuesIn(support::available_isas()),
                         support::isa_name);

TEST(Selection, SameBitsOnAnyNumberOfThreads) {
  const Problem p(333, 64, 900);
  NumericFlag flag;
  Context one({Device::cpu, 1}), many({Device::cpu, 5});
  const ScreenCopy screen = p.copy(one);
  SparseCodes first, second;
  encode_threshold(one, p.input(), p.encoder(screen, false), p.theta.data(), 0.1f, first, nullptr,
                   flag);
  encode_threshold(many, p.input(), p.encoder(screen, false), p.theta.data(), 0.1f, second, nullptr,
                   flag);
  EXPECT_EQ(first.indices, second.indices);
  EXPECT_EQ(first.values, second.values);
  EXPECT_EQ(first.row_offsets, second.row_offsets);
  encode_batch_topk(one, p.input(), p.encoder(screen, true), 3000, first, flag);
  encode_batch_topk(many, p.input(), p.encoder(screen, true), 3000, second, flag);
  EXPECT_EQ(first.indices, second.indices);
  EXPECT_EQ(first.row_offsets, second.row_offsets);
}

TEST(Selection, RefusesWhatDoesNotFit) {
  const Problem p(3, 8, 20);
  Context context({Device::cpu, 1});
  const ScreenCopy screen = p.copy(context);
  SparseCodes codes;
  NumericFlag flag;
  EXPECT_THROW(encode_batch_topk(context, p.input(), p.encoder(screen, false), 61, codes, flag),
               UsageError);
  EXPECT_THROW(encode_batch_topk(context, p.input(), p.encoder(screen, false), 0, codes, flag),
               UsageError);
  const float nan = kNan;
  EXPECT_THROW(encode_threshold(context, p.input(), p.encoder(screen, false), p.theta.data(), nan,
                                codes, nullptr, flag),
               UsageError);
  EXPECT_THROW(encode_threshold(context, {p.x.data(), 3, 7}, p.encoder(screen, false),
                                p.theta.data(), 0, codes, nullptr, flag),
               UsageError);
}

}  // namespace
}  // namespace assay
