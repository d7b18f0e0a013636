// The CUDA kernels of backward_update under the emulator: the CPU's bits in every thread order, and the step in double.
#include <gtest/gtest.h>

#include "kernels/backward_update.cuh"
#include "kernels/sparse_backward.h"
#include "tests/support/cuda_emulator.h"
#include "tests/support/kernel_cases.h"

namespace assay {
namespace {

using emulator::Guarded;
using support::SparseCase;
using support::UpdateProblem;

/// Runs the kernels on the problem's state and reads it back; gives the bf16 copy's bits.
std::vector<uint16_t> run_emulated(UpdateProblem& p, emulator::Order order) {
  PairsByLatent by_latent;
  Context context({Device::cpu, 1});
  sort_by_latent(context, p.codes, p.n, p.codes.values.data(), p.d_values.data(), by_latent);
  const Guarded<float> values(p.codes.values), d_values(p.d_values), g(p.g), x(p.x);
  const Guarded<int64_t> offsets(by_latent.offsets), pairs(by_latent.pairs);
  const Guarded<int32_t> rows(by_latent.rows);
  const Guarded<float> we(p.w_enc), wem(p.w_enc_m), wev(p.w_enc_v), wd(p.w_dec), wdm(p.w_dec_m), wdv(p.w_dec_v);
  const Guarded<float> be(p.b_enc), bem(p.b_enc_m), bev(p.b_enc_v), center(p.center);
  constexpr float kPoison = std::numeric_limits<float>::quiet_NaN();
  const Guarded<float> bias_gradient(std::vector<float>(p.n, kPoison));
  const Guarded<float> parts(std::vector<float>(center_parts_of(p.n) * p.d, kPoison));
  const Guarded<bf16> copy(std::vector<bf16>(p.n * p.d));
  const auto view = [&](const Guarded<float>& v) { return Matrix{v.data(), p.n, p.d}; };
  const auto rows_view = [&](const Guarded<float>& v) { return ConstMatrix{v.data(), p.codes.rows(), p.d}; };
  launch_backward_update(emulator::Launcher{order}, {values.data(),
                                                     d_values.data(),
                                                     rows_view(g),
                                                     rows_view(x),
                                                     offsets.data(),
                                                     rows.data(),
                                                     pairs.data(),
                                                     view(we),
                                                     view(wem),
                                                     view(wev),
                                                     view(wd),
                                                     view(wdm),
                                                     view(wdv),
                                                     be.data(),
                                                     bem.data(),
                                                     bev.data(),
                                                     copy.data(),
                                                     p.options,
                                                     bias_gradient.data(),
                                                     parts.data(),
                                                     center.data()});
  p.w_enc = we.read(), p.w_enc_m = wem.read(), p.w_enc_v = wev.read();
  p.w_dec = wd.read(), p.w_dec_m = wdm.read(), p.w_dec_v = wdv.read();
  p.b_enc = be.read(), p.b_enc_m = bem.read(), p.b_enc_v = bev.read(), p.center = center.read();
  bias_gradient.read(), parts.read();
  std::vector<uint16_t> bits;
  for (const bf16 value : copy.read()) bits.push_back(value.bits);
  return bits;
}

class UpdateCudaTest : public testing::TestWithParam<SparseCase> {};

TEST_P(UpdateCudaTest, HasTheCpusBitsInEveryThreadOrder) {
  UpdateProblem expected(GetParam());
  Context context({Device::cpu, 2});
  expected.run(context);
  for (const emulator::Order& order : emulator::kOrders) {
    UpdateProblem found(GetParam());
    const auto copy = run_emulated(found, order);
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
    for (size_t i = 0; i < copy.size(); ++i) ASSERT_EQ(copy[i], to_bf16(expected.w_enc[i]).bits);
  }
}

TEST_P(UpdateCudaTest, EncoderStepMatchesDenseGradientsInDouble) {
  const UpdateProblem before(GetParam());
  UpdateProblem after(GetParam());
  run_emulated(after, emulator::kOrders[3]);
  const AdamStep& s = before.options.adam;
  std::vector<double> gradient(before.n * before.d);
  for (int64_t i = 0; i < before.codes.rows(); ++i) {
    for (int64_t p = before.codes.row_offsets[i]; p < before.codes.row_offsets[i + 1]; ++p) {
      for (int64_t c = 0; c < before.d; ++c) {
        gradient[before.codes.indices[p] * before.d + c] +=
            static_cast<double>(before.d_values[p]) * before.x[i * before.d + c];
      }
    }
  }
  for (size_t i = 0; i < gradient.size(); ++i) {
    const double m = s.beta1 * before.w_enc_m[i] + (1 - s.beta1) * gradient[i];
    const double v = s.beta2 * before.w_enc_v[i] + (1 - s.beta2) * gradient[i] * gradient[i];
    EXPECT_NEAR(after.w_enc[i], before.w_enc[i] - s.lr * m / (std::sqrt(v * s.v_scale) + s.eps), 1e-5);
  }
  if (!before.options.unit_norm) return;
  for (int64_t j = 0; j < after.n; ++j) {
    double squares = 0;
    for (int64_t c = 0; c < after.d; ++c) squares += std::pow(after.w_dec[j * after.d + c], 2);
    EXPECT_NEAR(squares, 1, 1e-5);
  }
}

INSTANTIATE_TEST_SUITE_P(Cases, UpdateCudaTest, testing::ValuesIn(support::kSparseCases),
                         [](const auto& test) { return test.param.name; });

// More latents than the centre's gradient has parts, so parts hold several blocks.
TEST(UpdateCuda, CenterSumsOverUnevenParts) {
  const SparseCase c{"many_latents", 20, 2100, 5, 40};
  UpdateProblem expected(c), found(c);
  Context context({Device::cpu, 2});
  expected.run(context);
  run_emulated(found, emulator::kOrders[2]);
  EXPECT_EQ(found.center, expected.center);
  EXPECT_EQ(found.w_dec, expected.w_dec);
}

}  // namespace
}  // namespace assay
