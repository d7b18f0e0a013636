// The CUDA kernels of sparse_decode and value_gradient under the emulator: the CPU's bits in every
// thread order, and the naive references.
#include <gtest/gtest.h>

#include "kernels/cuda/sparse_decode.cuh"
#include "kernels/cuda/value_gradient.cuh"
#include "kernels/sparse_backward.h"
#include "kernels/sparse_decode.h"
#include "tests/support/cuda_emulator.h"
#include "tests/support/kernel_cases.h"

namespace assay {
namespace {

using emulator::Guarded;
using support::SparseCase;

/// A case's codes in guarded memory.
struct GuardedCodes {
  explicit GuardedCodes(const SparseCodes& codes)
      : row_offsets(codes.row_offsets), indices(codes.indices), values(codes.values) {}
  Guarded<int64_t> row_offsets;
  Guarded<int32_t> indices;
  Guarded<float> values;
};

class SparseCudaTest : public testing::TestWithParam<SparseCase> {
 protected:
  std::vector<float> decode(const SparseCodes& codes, const std::vector<float>& w,
                            emulator::Order order) const {
    const SparseCase& c = GetParam();
    const GuardedCodes in(codes);
    const Guarded<float> weights(w), bias(bias_), out(std::vector<float>(c.rows * c.d, -1));
    const SparseDecodeKernel kernel{in.row_offsets.data(),
                                    in.indices.data(),
                                    in.values.data(),
                                    {weights.data(), c.n, c.d},
                                    c.bias ? bias.data() : nullptr,
                                    {out.data(), c.rows, c.d}};
    emulator::Launcher{order}(kernel, c.rows, sizeof(SparseDecodeKernel::Shared));
    return out.read();
  }

  const std::vector<float> bias_ = reference::normal(GetParam().d, 43);
  Context context_{{Device::cpu, 2}};
};

TEST_P(SparseCudaTest, DecodeHasTheCpusBits) {
  const SparseCase& c = GetParam();
  const SparseCodes codes = c.codes();
  const auto w = c.weights();
  std::vector<float> expected(c.rows * c.d);
  sparse_decode(context_, codes, {w.data(), c.n, c.d}, c.bias ? bias_.data() : nullptr,
                {expected.data(), c.rows, c.d});
  for (const emulator::Order& order : emulator::kOrders)
    EXPECT_EQ(decode(codes, w, order), expected);
}

TEST_P(SparseCudaTest, DecodeMatchesTheDenseProduct) {
  const SparseCase& c = GetParam();
  const SparseCodes codes = c.codes();
  const auto w = c.weights(), out = decode(codes, w, emulator::kOrders[2]);
  for (int64_t i = 0; i < c.rows; ++i) {
    for (int64_t column = 0; column < c.d; ++column) {
      double sum = c.bias ? bias_[column] : 0.0;
      for (int64_t p = codes.row_offsets[i]; p < codes.row_offsets[i + 1]; ++p) {
        sum += static_cast<double>(codes.values[p]) * w[codes.indices[p] * c.d + column];
      }
      EXPECT_NEAR(out[i * c.d + column], sum, 2e-6 * (1 + static_cast<double>(c.n)));
    }
  }
}

TEST_P(SparseCudaTest, DecodePassesNanOnToItsRowAlone) {
  const SparseCase& c = GetParam();
  SparseCodes codes = c.codes();
  if (codes.pairs() == 0) return;
  codes.values.back() = std::numeric_limits<float>::quiet_NaN();
  int64_t bad = c.rows - 1;
  while (codes.row_offsets[bad] == codes.pairs()) --bad;
  const auto out = decode(codes, c.weights(), emulator::kOrders[1]);
  for (int64_t i = 0; i < c.rows * c.d; ++i) EXPECT_EQ(std::isnan(out[i]), i / c.d == bad);
}

TEST_P(SparseCudaTest, ValueGradientHasTheCpusBits) {
  const SparseCase& c = GetParam();
  const SparseCodes codes = c.codes();
  const auto w = c.weights(), g = c.rows_of(44);
  std::vector<float> expected;
  value_gradient(context_, codes, {g.data(), c.rows, c.d}, {w.data(), c.n, c.d}, expected);
  const GuardedCodes in(codes);
  const Guarded<float> device_g(g), weights(w);
  for (const emulator::Order& order : emulator::kOrders) {
    const Guarded<float> out(std::vector<float>(codes.pairs(), -1));
    emulator::Launcher{order}(ValueGradientKernel{in.row_offsets.data(),
                                                  in.indices.data(),
                                                  in.values.data(),
                                                  {device_g.data(), c.rows, c.d},
                                                  {weights.data(), c.n, c.d},
                                                  out.data()},
                              c.rows, 0);
    const auto found = out.read();
    EXPECT_EQ(found, expected);
    for (int64_t i = 0; i < c.rows; ++i) {
      for (int64_t p = codes.row_offsets[i]; p < codes.row_offsets[i + 1]; ++p) {
        const float dot =
            reference::canonical_dot(g.data() + i * c.d, w.data() + codes.indices[p] * c.d, c.d);
        EXPECT_EQ(found[p], codes.values[p] > 0 ? dot : 0.0f);
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Cases, SparseCudaTest, testing::ValuesIn(support::kSparseCases),
                         [](const auto& test) { return test.param.name; });

}  // namespace
}  // namespace assay
