// The CUDA back ends on a device, over the case table of the CPU's and the emulator's tests.
// Skipped without a device.
#include <gtest/gtest.h>

#include "kernels/base/error.h"
#include "kernels/cuda/cuda_device.h"
#include "kernels/cuda/topk_step.cuh"
#include "kernels/encode_batch_topk.h"
#include "kernels/encode_threshold.h"
#include "kernels/encode_topk.h"
#include "kernels/sparse_backward.h"
#include "kernels/sparse_decode.h"
#include "tests/support/emulated_machine.h"
#include "tests/support/encode_expect.h"
#include "tests/support/topk_expect.h"
#include "tests/support/update_expect.h"

namespace assay {
namespace {

using support::EncodeCase;
using support::SparseCase;
using support::ThresholdCase;
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

class EncodeGpuTest : public testing::TestWithParam<EncodeCase> {};

TEST_P(EncodeGpuTest, HasTheCanonicalWinners) {
  SKIP_WITHOUT_DEVICE();
  Context device({Device::cuda, 1});
  const EncodeCase& c = GetParam();
  const auto x = c.x(), w = c.w(), bias = c.bias(), scale = c.rank_scale();
  ScreenCopy screen(c.n, c.d);
  screen.refresh(device, {w.data(), c.n, c.d});
  const Encoder encoder{
      {w.data(), c.n, c.d}, bias.data(), &screen, c.ranked ? scale.data() : nullptr};
  SparseCodes out;
  NumericFlag flag;
  encode_topk(device, {x.data(), c.rows, c.d}, encoder, c.k, out, flag);
  support::expect_encoded(c, out.indices, out.values, flag.row());
}

INSTANTIATE_TEST_SUITE_P(Cases, EncodeGpuTest, testing::ValuesIn(support::kEncodeCases),
                         [](const auto& test) { return test.param.name; });
INSTANTIATE_TEST_SUITE_P(HardCases, EncodeGpuTest, testing::ValuesIn(support::kHardEncodeCases),
                         [](const auto& test) { return test.param.name; });
INSTANTIATE_TEST_SUITE_P(RankedCases, EncodeGpuTest, testing::ValuesIn(support::kRankedEncodeCases),
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
  for (const bool every_option : {false, true}) {
    UpdateProblem expected(GetParam(), every_option), found(GetParam(), every_option);
    EXPECT_EQ(gradient_squares(device, found.input(), found.state(), found.options),
              gradient_squares(cpu, expected.input(), expected.state(), expected.options));
    expected.run(cpu);
    found.run(device);
    support::expect_same(found, expected);
    EXPECT_EQ(found.screen.norm(), expected.screen.norm());
  }
}

INSTANTIATE_TEST_SUITE_P(Cases, SparseGpuTest, testing::ValuesIn(support::kSparseCases),
                         [](const auto& test) { return test.param.name; });

class ThresholdGpuTest : public testing::TestWithParam<ThresholdCase> {};

TEST_P(ThresholdGpuTest, HasTheCpusPairs) {
  SKIP_WITHOUT_DEVICE();
  Context device({Device::cuda, 1}), cpu({Device::cpu, 1});
  const EncodeCase& c = GetParam().encode;
  const auto x = c.x(), w = c.w(), bias = c.bias(), theta = GetParam().theta();
  ScreenCopy screen(c.n, c.d);
  screen.refresh(cpu, {w.data(), c.n, c.d});
  const Encoder encoder{{w.data(), c.n, c.d}, bias.data(), &screen};
  const ConstMatrix rows(x.data(), c.rows, c.d);
  SparseCodes expected, found;
  std::vector<float> expected_pre, found_pre;
  NumericFlag expected_flag, found_flag;
  encode_threshold(cpu, rows, encoder, theta.data(), GetParam().band, expected, &expected_pre,
                   expected_flag);
  encode_threshold(device, rows, encoder, theta.data(), GetParam().band, found, &found_pre,
                   found_flag);
  EXPECT_EQ(found.row_offsets, expected.row_offsets);
  EXPECT_EQ(found.indices, expected.indices);
  EXPECT_EQ(found.values, expected.values);
  EXPECT_EQ(found_pre, expected_pre);
  EXPECT_EQ(found_flag.row(), expected_flag.row());
}

INSTANTIATE_TEST_SUITE_P(Cases, ThresholdGpuTest, testing::ValuesIn(support::kThresholdCases),
                         [](const auto& test) { return test.param.name; });

TEST(GpuTest, BatchSelectionHasTheCpusPairs) {
  SKIP_WITHOUT_DEVICE();
  Context device({Device::cuda, 1}), cpu({Device::cpu, 1});
  const EncodeCase c{"selection", 70, 48, 3000, 1};
  const auto x = c.x(), w = c.w(), bias = c.bias(), scale = c.rank_scale();
  ScreenCopy screen(c.n, c.d);
  screen.refresh(cpu, {w.data(), c.n, c.d});
  for (const float* ranked : {static_cast<const float*>(nullptr), scale.data()}) {
    const Encoder encoder{{w.data(), c.n, c.d}, bias.data(), &screen, ranked};
    SparseCodes expected, found;
    NumericFlag flag;
    encode_batch_topk(cpu, {x.data(), c.rows, c.d}, encoder, 20 * c.rows, expected, flag);
    encode_batch_topk(device, {x.data(), c.rows, c.d}, encoder, 20 * c.rows, found, flag);
    EXPECT_EQ(found.row_offsets, expected.row_offsets);
    EXPECT_EQ(found.indices, expected.indices);
    EXPECT_EQ(found.values, expected.values);
    EXPECT_FALSE(flag.raised());
  }
}

/// A state on the host that a step may start from: every third latent too short to win, so that it
/// dies.
struct StepState {
  std::vector<float> enc, dec, enc_m, enc_v, dec_m, dec_v, b, b_m, b_v, c, c_m, c_v;
  std::vector<int64_t> silent;

  StepState(int64_t n, int64_t d)
      : enc(reference::normal(n * d, 71, 0.2f)),
        dec(enc),
        enc_m(n * d),
        enc_v(n * d),
        dec_m(n * d),
        dec_v(n * d),
        b(n),
        b_m(n),
        b_v(n),
        c(reference::normal(d, 72, 0.1f)),
        c_m(d),
        c_v(d),
        silent(n) {
    for (int64_t i = 0; i < n * d; ++i) {
      if (i / d % 3 == 0) enc[i] *= 0.05f;
    }
  }
  TopKHostState host() {
    return {{enc.data(), enc_m.data(), enc_v.data()},
            {dec.data(), dec_m.data(), dec_v.data()},
            {b.data(), b_m.data(), b_v.data()},
            {c.data(), c_m.data(), c_v.data()},
            silent.data(),
            0};
  }
};

// The emulator's step is the CPU's (tests/sae/topk_step_cuda_test.cpp); the device's must be the
// emulator's.
TEST(GpuTest, StepsHaveTheEmulatorsBits) {
  SKIP_WITHOUT_DEVICE();
  constexpr int64_t kBatch = 96, kN = 700, kD = 52;
  const TopKStepOptions options{kBatch, kN, kD, 9, 20, 1.0 / 32, 3 * kBatch, 0.8};
  StepState expected(kN, kD), found(kN, kD);
  emulator::EmulatedMachine machine;
  TopKStepOn<emulator::EmulatedMachine> emulated(machine, options);
  DeviceTopKStep device(options);
  emulated.upload(expected.host());
  device.upload(found.host());
  for (uint64_t s = 0; s < 12; ++s) {
    const auto x = reference::normal(kBatch * kD, 80 + s, 0.14f);
    std::copy(x.begin(), x.end(), emulated.input().data);
    std::copy(x.begin(), x.end(), device.input().data);
    emulated.run(1e-3);
    device.run(1e-3);
  }
  const TopKStepReport a = emulated.report(), b = device.report();
  EXPECT_EQ(b.steps, 12);
  EXPECT_GT(b.dead, 0);
  EXPECT_EQ(b.dead, a.dead);
  EXPECT_EQ(b.loss, a.loss);
  EXPECT_EQ(b.bad_step, -1);
  emulated.download(expected.host());
  EXPECT_EQ(device.download(found.host()), 12);
  EXPECT_EQ(found.enc, expected.enc);
  EXPECT_EQ(found.enc_m, expected.enc_m);
  EXPECT_EQ(found.enc_v, expected.enc_v);
  EXPECT_EQ(found.dec, expected.dec);
  EXPECT_EQ(found.b, expected.b);
  EXPECT_EQ(found.c, expected.c);
  EXPECT_EQ(found.silent, expected.silent);
}

TEST(GpuTest, ABadRowIsReportedWithItsStep) {
  SKIP_WITHOUT_DEVICE();
  constexpr int64_t kBatch = 40, kN = 128, kD = 16;
  StepState state(kN, kD), before(kN, kD);
  DeviceTopKStep device({kBatch, kN, kD, 4, 0, 0, 1000});
  device.upload(state.host());
  auto x = reference::normal(kBatch * kD, 90);
  x[33 * kD + 2] = std::numeric_limits<float>::quiet_NaN();
  std::copy(x.begin(), x.end(), device.input().data);
  device.run(1e-3);
  const TopKStepReport report = device.report();
  EXPECT_EQ(report.bad_step, 0);
  EXPECT_EQ(report.bad_row, 33);
  device.download(state.host());
  EXPECT_EQ(state.enc, before.enc);
  EXPECT_EQ(state.c, before.c);
}

TEST(GpuTest, WithoutADeviceTheContextSaysSo) {
  if (cuda_device_count() != 0) GTEST_SKIP() << "this machine has a CUDA device";
  EXPECT_THROW(Context({Device::cuda, 1}), UsageError);
}

}  // namespace
}  // namespace assay
