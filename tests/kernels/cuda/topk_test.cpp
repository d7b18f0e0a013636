// The CUDA kernel of topk under the emulator.
#include "kernels/cuda/topk.cuh"

#include <gtest/gtest.h>

#include "tests/support/cuda_emulator.h"
#include "tests/support/topk_expect.h"

namespace assay {
namespace {

using emulator::Guarded;
using support::TopkCase;

class TopkCudaTest : public testing::TestWithParam<TopkCase> {};

TEST_P(TopkCudaTest, EqualsTheReferenceInEveryThreadOrder) {
  const TopkCase& c = GetParam();
  const Guarded<float> z(c.z());
  for (const TopkOrder order : {TopkOrder::index, TopkOrder::value}) {
    for (const emulator::Order& threads : emulator::kOrders) {
      const Guarded<int32_t> indices(std::vector<int32_t>(c.rows * c.k, -7));
      const Guarded<float> values(std::vector<float>(c.rows * c.k, -7));
      const Guarded<long long> bad_row({NumericFlag::kNone});
      const TopkKernel kernel{{z.data(), c.rows, c.n}, c.k,           order == TopkOrder::value,
                              indices.data(),          values.data(), bad_row.data()};
      emulator::Launcher{threads}(kernel, c.rows, sizeof(TopkKernel::Shared));
      support::expect_topk(c, order, indices.read(), values.read(), bad_row.read()[0]);
      z.read();
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Cases, TopkCudaTest, testing::ValuesIn(support::kTopkCases),
                         [](const auto& test) { return test.param.name; });

}  // namespace
}  // namespace assay
