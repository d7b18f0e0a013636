// Adam's moments in bf16 and 8 bits, against exact fp32 moments, naive neighbours and the
// rounding's expectation.
#include "kernels/narrow_moments.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>

#include "kernels/backward_update.h"
#include "kernels/base/dtype.h"
#include "kernels/base/error.h"
#include "tests/support/isa.h"
#include "tests/support/reference.h"

namespace assay {
namespace {

using reference::matrix;
using reference::normal;

const AdamStep kAdam{1e-3f, 0.9f, 0.999f, 1e-8f, 1.0f};

/// The 8-bit map's values in [0, 1] or [−1, 1], from the paper's words: as the decade grows
/// tenfold, the linear fraction gets one more bit.
std::vector<double> dynamic_map(bool has_sign) {
  std::vector<double> values{0, 1};
  for (int decade = 0; decade < 7; ++decade) {
    const int parts = static_cast<int>(std::pow(2, decade + (has_sign ? 0 : 1)));
    for (int i = 0; i < parts; ++i) {
      const double low = 0.1 + 0.9 * i / parts, high = 0.1 + 0.9 * (i + 1) / parts;
      values.push_back((low + high) / 2 / std::pow(10, 6 - decade));
      if (has_sign) values.push_back(-values.back());
    }
  }
  std::sort(values.begin(), values.end());
  return values;
}

struct Neighbours {
  double below, above;
};

Neighbours among(const std::vector<double>& values, double x) {
  const auto above = std::lower_bound(values.begin(), values.end(), x);
  if (above == values.begin()) return {*above, *above};
  return {*(above - 1), *above};
}

/// Of x in bf16, walking from bf16's 8 significant bits by frexp.
Neighbours among_bf16(double x) {
  int exponent = 0;
  std::frexp(x, &exponent);
  const double unit = std::ldexp(1.0, exponent - 8);
  return {std::floor(x / unit) * unit, std::ceil(x / unit) * unit};
}

/// Moments of one row after one exact step from zero, which is what narrow ones should stand for.
struct Exact {
  std::vector<float> gradient, parameter, m, v;

  explicit Exact(int64_t cols)
      : gradient(normal(cols, 1)), parameter(normal(cols, 2)), m(cols), v(cols) {
    for (int64_t i = 0; i < cols; ++i) gradient[i] *= std::pow(10.0f, -static_cast<float>(i % 5));
    kScalarPrimitives.adam(kAdam, gradient.data(), parameter.data(), m.data(), v.data(), cols);
  }
};

class NarrowMomentsTest : public testing::TestWithParam<MomentType> {};

TEST_P(NarrowMomentsTest, KeepANeighbourOfTheExactValueAndItsExpectation) {
  constexpr int64_t kCols = 300, kKeys = 4000;  // a whole block and a part of one
  const Exact exact(kCols);
  std::vector<double> sum_m(kCols), sum_v(kCols);
  std::vector<float> m(kCols), v(kCols);
  std::vector<Neighbours> near_m, near_v;
  const auto signed_map = dynamic_map(true), unsigned_map = dynamic_map(false);
  for (int64_t i = 0; i < kCols; ++i) {
    if (GetParam() == MomentType::bf16) {
      near_m.push_back(among_bf16(exact.m[i]));
      near_v.push_back(among_bf16(exact.v[i]));
      continue;
    }
    const int64_t first = i / kMomentBlock * kMomentBlock,
                  end = std::min(kCols, first + kMomentBlock);
    double most_m = 0, most_v = 0;
    for (int64_t c = first; c < end; ++c) {
      most_m = std::max<double>(most_m, std::abs(exact.m[c]));
      most_v = std::max<double>(most_v, exact.v[c]);
    }
    const Neighbours of_m = among(signed_map, exact.m[i] / most_m),
                     of_v = among(unsigned_map, exact.v[i] / most_v);
    near_m.push_back({of_m.below * most_m, of_m.above * most_m});
    near_v.push_back({std::max(of_v.below, unsigned_map[1]) * most_v, of_v.above * most_v});
  }
  for (int64_t key = 0; key < kKeys; ++key) {
    NarrowMoments moments(GetParam(), 2, kCols);
    std::vector<float> parameter = normal(kCols, 2);
    moments.step(kScalarPrimitives, kAdam, static_cast<uint64_t>(key), 1, exact.gradient.data(),
                 parameter.data());
    ASSERT_EQ(parameter, exact.parameter) << "the step sees unrounded moments";
    moments.widen(1, m.data(), v.data());
    for (int64_t i = 0; i < kCols; ++i) {
      const auto is = [](double found, double expected) {
        return std::abs(found - expected) <= 1e-6 * std::abs(expected);
      };
      ASSERT_TRUE(is(m[i], near_m[i].below) || is(m[i], near_m[i].above))
          << i << ' ' << m[i] << ' ' << exact.m[i];
      ASSERT_TRUE(is(v[i], near_v[i].below) || is(v[i], near_v[i].above))
          << i << ' ' << v[i] << ' ' << exact.v[i];
      sum_m[i] += m[i];
      sum_v[i] += v[i];
    }
    moments.widen(0, m.data(), v.data());
    ASSERT_EQ(*std::max_element(v.begin(), v.end()), 0) << "no other row moves";
  }
  // A draw between two neighbours has a standard deviation of at most half their distance.
  const double deviations = 6 / (2 * std::sqrt(static_cast<double>(kKeys)));
  for (int64_t i = 0; i < kCols; ++i) {
    const auto [below_m, above_m] = near_m[i];
    EXPECT_NEAR(sum_m[i] / kKeys, std::max<double>(exact.m[i], below_m),
                deviations * (above_m - below_m) + 1e-5 * std::abs(above_m))
        << i;
    const auto [below_v, above_v] = near_v[i];
    EXPECT_NEAR(sum_v[i] / kKeys, std::max<double>(exact.v[i], below_v),
                deviations * (above_v - below_v) + 1e-5 * above_v)
        << i;
  }
}

/// Under gradients of ±1 for 2,000 steps and ±0.1 for 3,000 more, v comes near 0.87 and falls to
/// 0.05.
TEST_P(NarrowMomentsTest, FollowWhereRoundingToTheNearestStalls) {
  constexpr int64_t kCols = 256;
  NarrowMoments moments(GetParam(), 1, kCols);
  std::vector<float> gradient(kCols), parameter(kCols), m(kCols), v(kCols);
  float exact = 0, nearest = 0, highest = 0;
  for (int t = 0; t < 5000; ++t) {
    const float size = t < 2000 ? 1.0f : 0.1f;
    // Every third column has a larger gradient, so that blocks have no common size to scale by.
    for (int64_t i = 0; i < kCols; ++i)
      gradient[i] = (i % 3 == 0 ? 3.0f : size) * ((i + t) % 2 == 0 ? 1.0f : -1.0f);
    moments.step(kScalarPrimitives, kAdam, static_cast<uint64_t>(t), 0, gradient.data(),
                 parameter.data());
    exact = 0.999f * exact + 0.001f * size * size;
    nearest = to_float(to_bf16(0.999f * nearest + 0.001f * size * size));
    highest = std::max(highest, exact);
  }
  EXPECT_LT(nearest, 0.4f * highest) << "on its way up";
  EXPECT_GT(nearest, 3 * exact) << "and down";
  moments.widen(0, m.data(), v.data());
  double mean = 0;
  int64_t count = 0;
  for (int64_t i = 0; i < kCols; ++i) {
    if (i % 3 == 0) continue;
    mean += v[i];
    ++count;
  }
  EXPECT_NEAR(mean / static_cast<double>(count), exact, 0.1 * exact);
}

TEST_P(NarrowMomentsTest, ZeroStaysZeroAndClearedRowsBecomeIt) {
  constexpr int64_t kCols = 400;
  NarrowMoments moments(GetParam(), 3, kCols);
  const Exact exact(kCols);
  std::vector<float> parameter(kCols), m(kCols), v(kCols), zero(kCols);
  moments.step(kScalarPrimitives, kAdam, 1, 0, zero.data(), parameter.data());
  EXPECT_EQ(parameter, zero);
  for (const int64_t row : {1, 2}) {
    moments.step(kScalarPrimitives, kAdam, 2, row, exact.gradient.data(), parameter.data());
  }
  moments.clear(1);
  for (const int64_t row : {0, 1}) {
    moments.widen(row, m.data(), v.data());
    EXPECT_EQ(m, zero);
    EXPECT_EQ(v, zero);
  }
  moments.widen(2, m.data(), v.data());
  EXPECT_TRUE(std::all_of(v.begin(), v.end(), [](float value) { return value > 0; }))
      << "a v > 0 never becomes 0";
}

TEST_P(NarrowMomentsTest, TakeTheBytesTheyAreSaidToTakeAndNoticeWhatIsNotFinite) {
  for (const int64_t cols : {1, 255, 256, 257, 768}) {
    NarrowMoments moments(GetParam(), 5, cols);
    size_t bytes = 0;
    for (const NarrowMoment* moment : {&moments.m, &moments.v})
      bytes += moment->codes.size() + 4 * moment->scales.size();
    EXPECT_EQ(static_cast<int64_t>(bytes), 5 * moment_bytes(GetParam(), cols));
    EXPECT_TRUE(moments.finite());
    std::vector<float> gradient(cols, 1.0f), parameter(cols);
    gradient.back() = std::numeric_limits<float>::infinity();
    moments.step(kScalarPrimitives, kAdam, 0, 4, gradient.data(), parameter.data());
    EXPECT_FALSE(moments.finite());
  }
}

/// One update of a layer of narrow moments by an instruction set on so many threads; two steps, the
/// second from rounded moments.
std::vector<float> updated(MomentType type, Isa isa, int threads) {
  constexpr int64_t kRows = 50, kN = 200, kIn = 45, kOut = 300;
  Context context({Device::cpu, threads});
  context.force_isa(isa);
  SparseCodes codes;
  for (int64_t i = 0; i < kRows; ++i) {
    for (int64_t j = i % 7; j < kN; j += 7) {
      codes.indices.push_back(static_cast<int32_t>(j));
      codes.values.push_back(static_cast<float>(1 + (i + j) % 4));
    }
    codes.row_offsets.push_back(static_cast<int64_t>(codes.indices.size()));
  }
  const auto d_values = normal(codes.pairs(), 20), g = normal(kRows * kOut, 21),
             x = normal(kRows * kIn, 22);
  auto enc = normal(kN * kIn, 23), dec = normal(kN * kOut, 24);
  std::vector<float> bias(kN), bias_m(kN), bias_v(kN);
  NarrowMoments enc_moments(type, kN, kIn), dec_moments(type, kN, kOut);
  ScreenCopy screen(kN, kIn);
  const LatentState state{{enc.data(), kN, kIn}, {nullptr, kN, kIn},
                          {nullptr, kN, kIn},    {dec.data(), kN, kOut},
                          {nullptr, kN, kOut},   {nullptr, kN, kOut},
                          bias.data(),           bias_m.data(),
                          bias_v.data(),         &screen,
                          &enc_moments,          &dec_moments};
  for (const uint64_t key : {7, 8}) {
    backward_update(context, {&codes, &d_values, matrix(g, kRows, kOut), matrix(x, kRows, kIn)},
                    state, {kAdam, true, 1, key}, nullptr);
  }
  std::vector<float> m(kOut), v(kOut);
  dec_moments.widen(kN - 1, m.data(), v.data());
  enc.insert(enc.end(), dec.begin(), dec.end());
  enc.insert(enc.end(), m.begin(), m.end());
  enc.insert(enc.end(), v.begin(), v.end());
  return enc;
}

TEST_P(NarrowMomentsTest, HaveTheSameBitsOnAnyThreadsAndInstructionSet) {
  const std::vector<float> expected = updated(GetParam(), Isa::scalar, 1);
  EXPECT_NE(expected, updated(GetParam() == MomentType::bf16 ? MomentType::int8 : MomentType::bf16,
                              Isa::scalar, 1));
  for (const Isa isa : support::available_isas()) {
    for (const int threads : {1, 3}) EXPECT_EQ(updated(GetParam(), isa, threads), expected);
  }
}

INSTANTIATE_TEST_SUITE_P(Types, NarrowMomentsTest,
                         testing::Values(MomentType::bf16, MomentType::int8), [](const auto& type) {
                           return type.param == MomentType::bf16 ? "bf16" : "int8";
                         });

TEST(NarrowMoments, AreNamedAsTheFieldNamesThem) {
  EXPECT_EQ(parse_moment_type("fp32"), MomentType::fp32);
  EXPECT_EQ(parse_moment_type("bf16"), MomentType::bf16);
  EXPECT_EQ(parse_moment_type("8bit"), MomentType::int8);
  EXPECT_THROW(parse_moment_type("int4"), UsageError);
}

}  // namespace
}  // namespace assay
