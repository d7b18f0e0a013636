// The CUDA kernels of encode_topk under the emulator: the canonical winners in every thread order.
#include "kernels/cuda/encode_topk.cuh"

#include <gtest/gtest.h>

#include "tests/support/emulated_machine.h"
#include "tests/support/encode_expect.h"

namespace assay {
namespace {

using emulator::EmulatedMachine;
using support::EncodeCase;

/// A case in a machine's memory.
struct Problem {
  EmulatedMachine& machine;
  EncodeCase c;
  std::vector<float> host_x, host_w, host_bias;
  Buffer<float> x, w, bias;
  ScreenCopyOn copy;
  Buffer<int32_t> indices;
  Buffer<float> values;
  Buffer<long long> bad;

  Problem(EmulatedMachine& m, const EncodeCase& which)
      : machine(m),
        c(which),
        host_x(c.x()),
        host_w(c.w()),
        host_bias(c.bias()),
        x(m, host_x),
        w(m, host_w),
        bias(m, host_bias),
        copy(m, c.n, c.d),
        indices(m, c.rows * c.k),
        values(m, c.rows * c.k),
        bad(m, std::vector<long long>{NumericFlag::kNone}) {
    copy.refresh(m, {w.data(), c.n, c.d});
  }

  void run(const Eligible& eligible = {}, bool rectify = false) {
    EncodeTopkOn<EmulatedMachine> encode(machine, c.rows, c.n, c.d, c.k);
    const Matrix rows(x.data(), c.rows, c.d);
    encode.run({{w.data(), c.n, c.d}, bias.data(), copy.view()}, rows, nullptr, rows, eligible,
               rectify, indices.data(), values.data(), {bad.data()});
  }
};

class EncodeTopkCudaTest : public testing::TestWithParam<EncodeCase> {};

TEST_P(EncodeTopkCudaTest, HasTheCanonicalWinnersInEveryThreadOrder) {
  for (const emulator::Order& order : emulator::kOrders) {
    EmulatedMachine machine(order);
    const EncodeCase& c = GetParam();
    const auto x = c.x(), w = c.w(), bias = c.bias(), scale = c.rank_scale();
    SparseCodes out;
    out.indices.resize(c.rows * c.k);
    out.values.resize(c.rows * c.k);
    NumericFlag flag;
    const Encoder encoder{
        {w.data(), c.n, c.d}, bias.data(), nullptr, c.ranked ? scale.data() : nullptr};
    encode_topk_on(machine, {x.data(), c.rows, c.d}, encoder, c.k, out, flag);
    support::expect_encoded(c, out.indices, out.values, flag.row());
  }
}

INSTANTIATE_TEST_SUITE_P(Cases, EncodeTopkCudaTest, testing::ValuesIn(support::kEncodeCases),
                         [](const auto& test) { return test.param.name; });
INSTANTIATE_TEST_SUITE_P(HardCases, EncodeTopkCudaTest,
                         testing::ValuesIn(support::kHardEncodeCases),
                         [](const auto& test) { return test.param.name; });
INSTANTIATE_TEST_SUITE_P(RankedCases, EncodeTopkCudaTest,
                         testing::ValuesIn(support::kRankedEncodeCases),
                         [](const auto& test) { return test.param.name; });

TEST(EncodeTopkCuda, TheTilesDoNotMatter) {
  const EncodeCase c{"tiles", 12, 24, 900, 20};
  for (const int64_t tile_bytes : {1, 16 * 1024, 1 << 20}) {
    EmulatedMachine machine(emulator::kOrders[2], tile_bytes);
    Problem problem(machine, c);
    problem.run();
    support::expect_encoded(c, problem.indices.read(), problem.values.read(),
                            problem.bad.read()[0]);
  }
}

TEST(EncodeTopkCuda, CopyAndNormsHaveTheCpusBits) {
  const EncodeCase c{"copy", 1, 37, 21, 1};
  EmulatedMachine machine;
  const Problem problem(machine, c);
  Context context({Device::cpu, 1});
  ScreenCopy screen(c.n, c.d);
  screen.refresh(context, {problem.host_w.data(), c.n, c.d});
  const DeviceCopy copy = problem.copy.view();  // the emulator's memory is the host's
  for (int64_t j = 0; j < c.n; ++j) {
    EXPECT_EQ(copy.norm[j], screen.norm()[j]);
    EXPECT_EQ(copy.error[j], screen.error()[j]);
    for (int64_t i = 0; i < padded_depth(c.d); ++i) {
      const float expected = i < c.d ? problem.host_w[j * c.d + i] : 0;
      ASSERT_EQ(copy.rows[j * padded_depth(c.d) + i].bits, to_bf16(expected).bits);
    }
  }
}

// AuxK: the best among the latents that are silent, fewer than k where there are fewer, negative
// ones as zeros.
TEST(EncodeTopkCuda, OnlyEligibleLatentsWin) {
  for (const int64_t silent_one_in : {2, 40, 1000}) {
    const EncodeCase c{"eligible", 7, 24, 900, 50};
    EmulatedMachine machine(emulator::kOrders[3], 32 * 1024);
    Problem problem(machine, c);
    std::vector<int64_t> silent(c.n);
    std::vector<int32_t> dead;
    for (int64_t j = 1; j < c.n; ++j) {
      silent[j] = j % silent_one_in == 0 ? 1000 + j : 999 - j;
      if (silent[j] >= 1000) dead.push_back(static_cast<int32_t>(j));
    }
    const Buffer<int64_t> device_silent(machine, silent);
    const Buffer<int32_t> count(machine, std::vector<int32_t>{static_cast<int32_t>(dead.size())});
    problem.run({device_silent.data(), 1000, count.data()}, true);
    std::vector<float> w, bias;
    for (const int32_t j : dead) {
      w.insert(w.end(), problem.host_w.begin() + j * c.d, problem.host_w.begin() + (j + 1) * c.d);
      bias.push_back(problem.host_bias[j]);
    }
    const auto winners = std::min<int64_t>(c.k, static_cast<int64_t>(dead.size()));
    const auto indices = problem.indices.read();
    const auto values = problem.values.read();
    for (int64_t i = 0; i < c.rows; ++i) {
      const auto expected = reference::encode_row(
          problem.host_x.data() + i * c.d, {w.data(), static_cast<int64_t>(dead.size()), c.d},
          bias.data(), winners);
      for (int64_t p = 0; p < c.k; ++p) {
        EXPECT_EQ(indices[i * c.k + p], p < winners ? dead[expected[p].index] : 0);
        EXPECT_EQ(values[i * c.k + p], p < winners ? std::max(expected[p].value, 0.0f) : 0.0f);
      }
    }
    EXPECT_EQ(problem.bad.read()[0], NumericFlag::kNone);
  }
}

}  // namespace
}  // namespace assay
