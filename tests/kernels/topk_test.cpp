#include "kernels/topk.h"

#include <gtest/gtest.h>

#include "kernels/base/error.h"
#include "tests/support/topk_expect.h"

namespace assay {
namespace {

using support::TopkCase;

class TopkTest : public testing::TestWithParam<TopkCase> {};

TEST_P(TopkTest, EqualsTheReferenceOnAnyThreads) {
  const TopkCase& c = GetParam();
  const std::vector<float> z = c.z();
  for (const int threads : {1, 3}) {
    Context context({Device::cpu, threads});
    for (const TopkOrder order : {TopkOrder::index, TopkOrder::value}) {
      SparseCodes out;
      NumericFlag flag;
      topk(context, {z.data(), c.rows, c.n}, c.k, order, out, flag);
      ASSERT_EQ(out.rows(), c.rows);
      ASSERT_EQ(out.pairs(), c.rows * c.k);
      support::expect_topk(c, order, out.indices, out.values, flag.row());
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Cases, TopkTest, testing::ValuesIn(support::kTopkCases),
                         [](const auto& test) { return test.param.name; });

TEST(Topk, ReadsRowsByTheirStride) {
  const std::vector<float> z{1, 9, 100, 7, 3, 100};
  Context context({Device::cpu, 1});
  SparseCodes out;
  NumericFlag flag;
  topk(context, {z.data(), 2, 2, 3}, 1, TopkOrder::index, out, flag);
  EXPECT_EQ(out.indices, (std::vector<int32_t>{1, 0}));
  EXPECT_EQ(out.values, (std::vector<float>{9, 7}));
}

TEST(Topk, RefusesKOutsideTheRow) {
  const std::vector<float> z(8);
  Context context({Device::cpu, 1});
  SparseCodes out;
  NumericFlag flag;
  EXPECT_THROW(topk(context, {z.data(), 2, 4}, 0, TopkOrder::index, out, flag), UsageError);
  EXPECT_THROW(topk(context, {z.data(), 2, 4}, 5, TopkOrder::index, out, flag), UsageError);
}

}  // namespace
}  // namespace assay
