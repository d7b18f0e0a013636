// The CUDA kernel of encode_threshold under the emulator: the CPU's pairs and bits, at any density.
#include "kernels/cuda/encode_threshold.cuh"

#include <gtest/gtest.h>

#include "tests/support/emulated_machine.h"
#include "tests/support/kernel_cases.h"

namespace assay {
namespace {

using emulator::EmulatedMachine;
using support::EncodeCase;
using support::ThresholdCase;

struct Answer {
  SparseCodes codes;
  std::vector<float> pre;
  NumericFlag flag;
};

class EncodeThresholdCudaTest : public testing::TestWithParam<ThresholdCase> {};

TEST_P(EncodeThresholdCudaTest, HasTheCpusPairsInEveryThreadOrder) {
  const EncodeCase& c = GetParam().encode;
  const auto x = c.x(), w = c.w(), bias = c.bias(), theta = GetParam().theta();
  const float band = GetParam().band;
  Context context({Device::cpu, 2});
  ScreenCopy screen(c.n, c.d);
  screen.refresh(context, {w.data(), c.n, c.d});
  const Encoder encoder{{w.data(), c.n, c.d}, bias.data(), &screen};
  const ConstMatrix rows(x.data(), c.rows, c.d);
  Answer cpu;
  encode_threshold(context, rows, encoder, theta.data(), band, cpu.codes, &cpu.pre, cpu.flag);
  for (const emulator::Order& order : emulator::kOrders) {
    EmulatedMachine machine(order);
    Answer found;
    encode_threshold_on(machine, rows, encoder, theta.data(), band, found.codes, &found.pre,
                        found.flag);
    EXPECT_EQ(found.codes.row_offsets, cpu.codes.row_offsets);
    EXPECT_EQ(found.codes.indices, cpu.codes.indices);
    EXPECT_EQ(found.codes.values, cpu.codes.values);
    EXPECT_EQ(found.pre, cpu.pre);
    EXPECT_EQ(found.flag.row(), cpu.flag.row());
  }
}

INSTANTIATE_TEST_SUITE_P(Cases, EncodeThresholdCudaTest,
                         testing::ValuesIn(support::kThresholdCases),
                         [](const auto& test) { return test.param.name; });

}  // namespace
}  // namespace assay
