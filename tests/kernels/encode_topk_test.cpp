#include "kernels/encode_topk.h"

#include <gtest/gtest.h>

#include <string>
#include <tuple>
#include <vector>

#include "kernels/base/error.h"
#include "tests/support/encode_expect.h"
#include "tests/support/isa.h"
#include "tests/support/kernel_cases.h"
#include "tests/support/reference.h"

namespace assay {
namespace {

using reference::matrix;

struct Encoded {
  SparseCodes codes;
  NumericFlag flag;

  Encoded(Context& context, const support::EncodeCase& c) {
    const auto x = c.x(), w = c.w(), bias = c.bias(), scale = c.rank_scale();
    ScreenCopy screen(c.n, c.d);
    screen.refresh(context, matrix(w, c.n, c.d));
    const Encoder encoder{matrix(w, c.n, c.d), bias.data(), &screen,
                          c.ranked ? scale.data() : nullptr};
    encode_topk(context, matrix(x, c.rows, c.d), encoder, c.k, codes, flag);
  }
};

class EncodeTopkTest : public testing::TestWithParam<std::tuple<Isa, support::EncodeCase>> {};

TEST_P(EncodeTopkTest, HasTheCanonicalWinners) {
  const auto& [isa, c] = GetParam();
  Context context({Device::cpu, 2});
  context.force_isa(isa);
  const Encoded result(context, c);
  ASSERT_EQ(result.codes.rows(), c.rows);
  support::expect_encoded(c, result.codes.indices, result.codes.values, result.flag.row());
}

std::string case_name(const testing::TestParamInfo<EncodeTopkTest::ParamType>& info) {
  const auto& [isa, c] = info.param;
  return support::isa_name(testing::TestParamInfo<Isa>(isa, 0)) + "_" + c.name;
}
INSTANTIATE_TEST_SUITE_P(Cases, EncodeTopkTest,
                         testing::Combine(testing::ValuesIn(support::available_isas()),
                                          testing::ValuesIn(support::kEncodeCases)),
                         case_name);
INSTANTIATE_TEST_SUITE_P(HardCases, EncodeTopkTest,
                         testing::Combine(testing::ValuesIn(support::available_isas()),
                                          testing::ValuesIn(support::kHardEncodeCases)),
                         case_name);
INSTANTIATE_TEST_SUITE_P(RankedCases, EncodeTopkTest,
                         testing::Combine(testing::ValuesIn(support::available_isas()),
                                          testing::ValuesIn(support::kRankedEncodeCases)),
                         case_name);

TEST(EncodeTopk, SameBitsOnAnyNumberOfThreads) {
  const support::EncodeCase problem{"threads", 333, 64, 2000, 24};
  Context one({Device::cpu, 1});
  const SparseCodes expected = Encoded(one, problem).codes;
  for (const int threads : {2, 3, 7}) {
    Context many({Device::cpu, threads});
    const SparseCodes codes = Encoded(many, problem).codes;
    EXPECT_EQ(codes.indices, expected.indices);
    EXPECT_EQ(codes.values, expected.values);
  }
}

TEST(EncodeTopk, RefusesShapesThatDoNotFit) {
  Context context({Device::cpu, 1});
  EXPECT_THROW(Encoded(context, {"too_many", 2, 8, 16, 17}), UsageError);
  EXPECT_THROW(Encoded(context, {"none", 2, 8, 16, 0}), UsageError);
  const std::vector<float> w(16 * 8), bias(16), x(8);
  const ScreenCopy narrow(16, 4);
  SparseCodes codes;
  NumericFlag flag;
  EXPECT_THROW(encode_topk(context, matrix(x, 1, 8), {matrix(w, 16, 8), bias.data(), &narrow}, 2,
                           codes, flag),
               UsageError);
  const Encoder endless{{w.data(), int64_t{1} << 31, 8}, bias.data(), &narrow};
  try {
    encode_topk(context, matrix(x, 1, 8), endless, 2, codes, flag);
    FAIL() << "nothing was thrown";
  } catch (const UsageError& error) {
    EXPECT_STREQ(error.what(),
                 "encode_topk: n = 2147483648 latents are more than an index holds (2147483647)");
  }
}

}  // namespace
}  // namespace assay
