// The CUDA kernel of encode_threshold under the emulator: the CPU's pairs and bits, at any density.
#include <gtest/gtest.h>

#include <limits>

#include "kernels/encode_threshold.cuh"
#include "tests/support/emulated_machine.h"
#include "tests/support/kernel_cases.h"

namespace assay {
namespace {

using emulator::EmulatedMachine;
using support::EncodeCase;

struct Answer {
  SparseCodes codes;
  std::vector<float> pre;
  NumericFlag flag;
};

void expect_same(const EncodeCase& c, const std::vector<float>& x, const std::vector<float>& theta, float band,
                 const emulator::Order& order) {
  const auto w = c.w(), bias = c.bias();
  Context context({Device::cpu, 2});
  ScreenCopy screen(c.n, c.d);
  screen.refresh(context, {w.data(), c.n, c.d});
  const Encoder encoder{{w.data(), c.n, c.d}, bias.data(), &screen};
  const ConstMatrix rows(x.data(), c.rows, c.d);
  Answer cpu, found;
  encode_threshold(context, rows, encoder, theta.data(), band, cpu.codes, &cpu.pre, cpu.flag);
  EmulatedMachine machine(order);
  encode_threshold_on(machine, rows, encoder, theta.data(), band, found.codes, &found.pre, found.flag);
  EXPECT_EQ(found.codes.row_offsets, cpu.codes.row_offsets);
  EXPECT_EQ(found.codes.indices, cpu.codes.indices);
  EXPECT_EQ(found.codes.values, cpu.codes.values);
  EXPECT_EQ(found.pre, cpu.pre);
  EXPECT_EQ(found.flag.row(), cpu.flag.row());
}

std::vector<float> thetas(const EncodeCase& c, float level) {
  auto theta = reference::normal(c.n, 4, 0.2f);
  for (float& t : theta) t += level;
  return theta;
}

class EncodeThresholdCudaTest : public testing::TestWithParam<int> {
 protected:
  const emulator::Order order_ = emulator::kOrders[GetParam()];
};

TEST_P(EncodeThresholdCudaTest, HasTheCpusPairsAtAnyDensity) {
  const EncodeCase c{"dense", 6, 24, 2500, 1};
  for (const float level : {-20.0f, 0.0f, 5.0f, 60.0f}) {  // all, half, few, none
    expect_same(c, c.x(), thetas(c, level), 0.2f, order_);
  }
  expect_same({"smallest", 1, 1, 1, 1}, {0.5f}, {0.0f}, 0, order_);
  expect_same({"no_rows", 0, 8, 16, 1}, {}, std::vector<float>(16), 0, order_);
}

TEST_P(EncodeThresholdCudaTest, IsStrictAndDecidedExactly) {
  const EncodeCase c{"edges", 12, 40, 200, 1};
  const auto x = c.x(), w = c.w(), bias = c.bias();
  std::vector<float> theta(c.n);
  for (int64_t j = 0; j < c.n; ++j) {  // equal in one row: not active there
    theta[j] = reference::canonical_dot(x.data() + j % c.rows * c.d, w.data() + j * c.d, c.d) + bias[j];
  }
  expect_same(c, x, theta, 0, order_);
  expect_same(c, x, theta, 1e-6f, order_);
}

TEST_P(EncodeThresholdCudaTest, RowsThatAreNotFiniteAreEmptyAndFlagged) {
  const EncodeCase c{"bad", 9, 20, 300, 1};
  auto x = c.x();
  x[4 * c.d + 3] = std::numeric_limits<float>::quiet_NaN();
  x[7 * c.d] = std::numeric_limits<float>::infinity();
  expect_same(c, x, thetas(c, 1), 0.1f, order_);
  for (const auto kind : {EncodeCase::nan_weight, EncodeCase::infinite_bias}) {
    const EncodeCase bad{"encoder", 3, 20, 300, 1, kind};
    expect_same(bad, bad.x(), thetas(bad, 1), 0.1f, order_);
  }
}

INSTANTIATE_TEST_SUITE_P(Orders, EncodeThresholdCudaTest, testing::Range(0, 4));

}  // namespace
}  // namespace assay
