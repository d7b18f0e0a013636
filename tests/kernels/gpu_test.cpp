// The CUDA back ends on a device, over the case table of the CPU's and the emulator's tests. Skipped without a device.
#include <gtest/gtest.h>

#include "kernels/cuda_device.h"
#include "kernels/encode_topk.h"
#include "kernels/error.h"
#include "kernels/sparse_backward.h"
#include "kernels/sparse_decode.h"
#include "tests/support/topk_expect.h"

namespace assay {
namespace {

using support::SparseCase;
using support::TopkCase;
using support::UpdateProblem;

#define SKIP_WITHOUT_DEVICE() \
  if (cuda_device_count() == 0) GTEST_SKIP() << "no CUDA device on this machine"

class TopkGpuTest : public testing::TestWithParam<TopkCase> {};

TEST_P(TopkGpuTest, EqualsTheReference) {
  SKIP_WITHOUT_DEVICE();
  Context device({Device::cuda, 1});
  const TopkCase& c = GetParam();
  const std::vector<float> z = c.z();
  for (const TopkOrder order : {TopkOrder::index, TopkOrder::value}) {
    SparseCodes out;
    NumericFlag flag;
    topk(device, {z.data(), c.rows, c.n}, c.k, order, out, flag);
    support::expect_topk(c, order, out.indices, out.values, flag.row());
  }
}

INSTANTIATE_TEST_SUITE_P(Cases, TopkGpuTest, testing::ValuesIn(support::kTopkCases),
                         [](const auto& test) { return test.param.name; });

class SparseGpuTest : public testing::TestWithParam<SparseCase> {};

TEST_P(SparseGpuTest, DecodeHasTheCpusBits) {
  SKIP_WITHOUT_DEVICE();
  Context device({Device::cuda, 1}), cpu({Device::cpu, 1});
  const SparseCase& c = GetParam();
  const SparseCodes codes = c.codes();
  const auto w = c.weights(), bias = reference::normal(c.d, 43);
  std::vector<float> expected(c.rows * c.d), found(c.rows * c.d);
  const float* added = c.bias ? bias.data() : nullptr;
  sparse_decode(cpu, codes, {w.data(), c.n, c.d}, added, {expected.data(), c.rows, c.d});
  sparse_decode(device, codes, {w.data(), c.n, c.d}, added, {found.data(), c.rows, c.d});
  EXPECT_EQ(found, expected);
}

TEST_P(SparseGpuTest, ValueGradientHasTheCpusBits) {
  SKIP_WITHOUT_DEVICE();
  Context device({Device::cuda, 1}), cpu({Device::cpu, 1});
  const SparseCase& c = GetParam();
  const SparseCodes codes = c.codes();
  const auto w = c.weights(), g = c.rows_of(44);
  std::vector<float> expected, found;
  value_gradient(cpu, codes, {g.data(), c.rows, c.d}, {w.data(), c.n, c.d}, expected);
  value_gradient(device, codes, {g.data(), c.rows, c.d}, {w.data(), c.n, c.d}, found);
  EXPECT_EQ(found, expected);
}

TEST_P(SparseGpuTest, UpdateHasTheCpusBits) {
  SKIP_WITHOUT_DEVICE();
  Context device({Device::cuda, 1}), cpu({Device::cpu, 1});
  UpdateProblem expected(GetParam()), found(GetParam());
  expected.run(cpu);
  found.run(device);
  EXPECT_EQ(found.w_enc, expected.w_enc);
  EXPECT_EQ(found.w_enc_m, expected.w_enc_m);
  EXPECT_EQ(found.w_enc_v, expected.w_enc_v);
  EXPECT_EQ(found.w_dec, expected.w_dec);
  EXPECT_EQ(found.w_dec_m, expected.w_dec_m);
  EXPECT_EQ(found.w_dec_v, expected.w_dec_v);
  EXPECT_EQ(found.b_enc, expected.b_enc);
  EXPECT_EQ(found.b_enc_m, expected.b_enc_m);
  EXPECT_EQ(found.b_enc_v, expected.b_enc_v);
  EXPECT_EQ(found.center, expected.center);
  EXPECT_EQ(found.screen.norm(), expected.screen.norm());
}

INSTANTIATE_TEST_SUITE_P(Cases, SparseGpuTest, testing::ValuesIn(support::kSparseCases),
                         [](const auto& test) { return test.param.name; });

TEST(GpuTest, AnOperationWithoutACudaBackEndSaysSo) {
  SKIP_WITHOUT_DEVICE();
  Context device({Device::cuda, 1});
  SparseCodes out;
  NumericFlag flag;
  EXPECT_THROW(encode_topk(device, {}, {}, 1, out, flag), UsageError);
}

TEST(GpuTest, WithoutADeviceTheContextSaysSo) {
  if (cuda_device_count() != 0) GTEST_SKIP() << "this machine has a CUDA device";
  EXPECT_THROW(Context({Device::cuda, 1}), UsageError);
}

}  // namespace
}  // namespace assay
