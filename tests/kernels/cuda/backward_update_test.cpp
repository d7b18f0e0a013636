// The CUDA kernels of backward_update under the emulator: the CPU's bits in every thread order, and
// the step in double.
#include "kernels/cuda/backward_update.cuh"

#include <gtest/gtest.h>

#include "kernels/base/error.h"
#include "kernels/sparse_backward.h"
#include "tests/support/dense_gradients.h"
#include "tests/support/emulated_machine.h"
#include "tests/support/update_expect.h"

namespace assay {
namespace {

using emulator::EmulatedMachine;
using support::expect_same;
using support::SparseCase;
using support::UpdateProblem;

void run_emulated(UpdateProblem& p, emulator::Order order) {
  EmulatedMachine machine(order);
  backward_update_on(machine, p.input(), p.state(), p.options, p.center.data());
}

/// The device's order of pairs is the CPU's, whatever order the scatter's atomics came in.
void expect_sorted(const SparseCase& c) {
  const UpdateProblem p(c);
  PairsByLatent expected;
  Context context({Device::cpu, 1});
  sort_by_latent(context, p.codes, p.n, p.codes.values.data(), nullptr, expected);
  for (const emulator::Order& order : emulator::kOrders) {
    EmulatedMachine machine(order);
    const Buffer<int64_t> row_offsets(machine, p.codes.row_offsets);
    const Buffer<int32_t> indices(machine, p.codes.indices);
    const Buffer<float> values(machine, p.codes.values),
        zeros(machine, std::vector<float>(p.codes.pairs()));
    SortByLatentOn<EmulatedMachine> sort(machine, p.n, p.codes.pairs());
    sort.run({row_offsets.data(), indices.data(), values.data(), zeros.data(), zeros.data()},
             p.codes.rows());
    for (int64_t j = 0; j <= p.n; ++j) ASSERT_EQ(sort.sorted().offsets[j], expected.offsets[j]);
    for (size_t o = 0; o < expected.pairs.size(); ++o) {
      ASSERT_EQ(sort.sorted().pairs[o].row, expected.rows[o]);
      ASSERT_EQ(sort.sorted().pairs[o].dec, p.codes.values[expected.pairs[o]]);
    }
  }
}

class UpdateCudaTest : public testing::TestWithParam<SparseCase> {};

TEST_P(UpdateCudaTest, HasTheCpusBitsInEveryThreadOrder) {
  Context context({Device::cpu, 2});
  for (const bool every_option : {false, true}) {
    UpdateProblem expected(GetParam(), every_option);
    expected.run(context);
    for (const emulator::Order& order : emulator::kOrders) {
      UpdateProblem found(GetParam(), every_option);
      run_emulated(found, order);
      expect_same(found, expected);
    }
  }
}

TEST_P(UpdateCudaTest, SquaresHaveTheCpusBitsAndAreTheDenseGradients) {
  Context context({Device::cpu, 2});
  for (const bool every_option : {false, true}) {
    UpdateProblem p(GetParam(), every_option);
    const double expected = gradient_squares(context, p.input(), p.state(), p.options);
    for (const emulator::Order& order : emulator::kOrders) {
      EmulatedMachine machine(order);
      EXPECT_EQ(gradient_squares_on(machine, p.input(), p.state(), p.options), expected);
    }
    p.options.adam.beta1 = 0;  // leaves the gradient itself in the first moment
    p.options.gradient_scale = 1;
    run_emulated(p, emulator::kOrders[0]);
    double dense = 0;
    for (const auto* moment : {&p.w_enc_m, &p.w_dec_m, &p.b_enc_m}) {
      for (const float g : *moment) dense += static_cast<double>(g) * g;
    }
    EXPECT_NEAR(expected, dense, 1e-5 * dense);
  }
}

TEST_P(UpdateCudaTest, EncoderStepMatchesDenseGradientsInDouble) {
  const UpdateProblem before(GetParam());
  UpdateProblem after(GetParam());
  run_emulated(after, emulator::kOrders[3]);
  const auto gradient = reference::dense_gradients(
                            before.input(), reference::matrix(before.w_enc, before.n, before.d_in),
                            reference::matrix(before.w_dec, before.n, before.d))
                            .enc;
  for (size_t i = 0; i < gradient.size(); ++i) {
    double p = before.w_enc[i], m = before.w_enc_m[i], v = before.w_enc_v[i];
    reference::adam(before.options.adam, gradient[i], p, m, v);
    EXPECT_NEAR(after.w_enc[i], p, 1e-5);
  }
  if (!before.options.unit_norm) return;
  for (int64_t j = 0; j < after.n; ++j) {
    double squares = 0;
    for (int64_t c = 0; c < after.d; ++c) squares += std::pow(after.w_dec[j * after.d + c], 2);
    EXPECT_NEAR(squares, 1, 1e-5);
  }
}

TEST_P(UpdateCudaTest, PairsStandByLatentThenRow) { expect_sorted(GetParam()); }

INSTANTIATE_TEST_SUITE_P(Cases, UpdateCudaTest, testing::ValuesIn(support::kSparseCases),
                         [](const auto& test) { return test.param.name; });

/// More latents than the centre's gradient has parts, so parts hold several blocks, and than one
/// round of the offsets.
constexpr SparseCase kManyLatents{"many_latents", 20, 4200, 5, 80};

TEST(UpdateCuda, PairsOfManyLatentsStandByLatentThenRow) { expect_sorted(kManyLatents); }

TEST(UpdateCuda, CenterSumsOverUnevenParts) {
  const SparseCase& c = kManyLatents;
  UpdateProblem expected(c), found(c);
  Context context({Device::cpu, 2});
  expected.run(context);
  run_emulated(found, emulator::kOrders[2]);
  EXPECT_EQ(found.center, expected.center);
  EXPECT_EQ(found.w_dec, expected.w_dec);
  const double squares =
      gradient_squares(context, expected.input(), expected.state(), expected.options);
  EmulatedMachine machine(emulator::kOrders[2]);
  EXPECT_EQ(gradient_squares_on(machine, found.input(), found.state(), found.options), squares);
}

TEST(UpdateCuda, RefusesWhatItsCountersOrSharedMemoryDoNotHold) {
  EmulatedMachine machine;
  EXPECT_THROW(SortByLatentOn<EmulatedMachine>(machine, 4, kMostCounted + 1), UsageError);
  SortByLatentOn<EmulatedMachine> sort(machine, 4, 1);
  const int64_t rows =
      static_cast<int64_t>(EmulatedMachine::kMostShared) / 8 * 32;  // 8 bytes a word of 32 rows
  sort.start();
  sort.place();
  sort.finish(rows);
  try {
    sort.finish(rows + 1);
    FAIL() << "nothing was thrown";
  } catch (const UsageError& error) {
    EXPECT_STREQ(error.what(),
                 "sort by latent: order: a block needs 232456 bytes of shared memory and this "
                 "device has 232448; take "
                 "fewer rows a batch or fewer dimensions");
  }
  EXPECT_THROW(sort.count({}, kMostCounted + 1), UsageError);
}

TEST(UpdateCuda, RefusesALatentTwiceInARowUnlessItCarriesNothing) {
  const SparseCase c{"twice", 4, 6, 5, 1, true, true, false};
  const int64_t second = c.codes().row_offsets[2] + 1;
  const auto repeat = [second](UpdateProblem& p, float weight) {
    p.codes.indices[second] = p.codes.indices[second - 1];
    p.codes.values[second] = p.d_values[second] = weight;
  };
  UpdateProblem expected(c), found(c), refused(c);
  repeat(expected, 0);
  repeat(found, 0);
  repeat(refused, 1);
  Context context({Device::cpu, 1});
  expected.run(context);
  run_emulated(found, emulator::kOrders[2]);
  expect_same(found, expected);
  refused.codes.values[second - 1] = 1;
  EXPECT_THROW(run_emulated(refused, emulator::kOrders[0]), UsageError);
}

}  // namespace
}  // namespace assay
