// Decode, value gradient, the sort by latent, and the fused update, each against a naive dense
// computation.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "kernels/backward_update.h"
#include "kernels/base/error.h"
#include "kernels/sparse_backward.h"
#include "kernels/sparse_decode.h"
#include "tests/support/dense_gradients.h"
#include "tests/support/isa.h"
#include "tests/support/kernel_cases.h"

namespace assay {
namespace {

using reference::matrix;
using reference::normal;

/// Rows of different lengths (some empty), with zeros and negative ones among the values.
SparseCodes ragged(int64_t rows, int64_t n) {
  return support::SparseCase{"ragged", rows, n, 1}.codes();
}

class SparseTest : public testing::TestWithParam<Isa> {
 protected:
  SparseTest() { context_.force_isa(GetParam()); }
  Context context_{{Device::cpu, 2}};
};

TEST_P(SparseTest, DecodeMatchesTheDenseProduct) {
  for (const support::SparseCase& c : support::kSparseCases) {
    SCOPED_TRACE(c.name);
    const SparseCodes codes = c.codes();
    const auto w = c.weights(), bias = normal(c.d, 3);
    std::vector<float> out(c.rows * c.d, -1);
    sparse_decode(context_, codes, matrix(w, c.n, c.d), c.bias ? bias.data() : nullptr,
                  {out.data(), c.rows, c.d});
    for (int64_t i = 0; i < c.rows; ++i) {
      for (int64_t column = 0; column < c.d; ++column) {
        double sum = c.bias ? bias[column] : 0;
        for (int64_t p = codes.row_offsets[i]; p < codes.row_offsets[i + 1]; ++p) {
          sum += static_cast<double>(codes.values[p]) * w[codes.indices[p] * c.d + column];
        }
        EXPECT_NEAR(out[i * c.d + column], sum, 1e-4);
      }
    }
  }
}

/// Codes of a density at which rows take turns over several windows of latents, and latents over
/// windows of rows: the sums still run pair by pair in order, whatever the tiles.
TEST_P(SparseTest, DenseCodesAreSummedInTheOrderOfTheirPairs) {
  const int64_t rows = 150, n = 700, d = 133;
  const SparseCodes codes = ragged(rows, n);
  ASSERT_GT(codes.pairs() * 16, rows * n);
  const auto w = normal(n * d, 52), g = normal(rows * d, 53), d_values = normal(codes.pairs(), 54);
  std::vector<float> out(rows * d), expected(rows * d), gradient;
  sparse_decode(context_, codes, matrix(w, n, d), nullptr, {out.data(), rows, d});
  value_gradient(context_, codes, matrix(g, rows, d), matrix(w, n, d), gradient);
  std::vector<float> enc(n * d);
  for (int64_t i = 0; i < rows; ++i) {
    for (int64_t p = codes.row_offsets[i]; p < codes.row_offsets[i + 1]; ++p) {
      const int64_t j = codes.indices[p];
      for (int64_t c = 0; c < d; ++c) {
        if (codes.values[p] != 0) {
          expected[i * d + c] = std::fma(codes.values[p], w[j * d + c], expected[i * d + c]);
        }
        enc[j * d + c] = std::fma(d_values[p], g[i * d + c], enc[j * d + c]);
      }
      const float dot = reference::canonical_dot(g.data() + i * d, w.data() + j * d, d);
      EXPECT_EQ(gradient[p], codes.values[p] > 0 ? dot : 0.0f);
    }
  }
  EXPECT_EQ(out, expected);
  // With β1 = 0 the first moment is the gradient.
  std::vector<float> we = w, wd = w, m(n * d), v(n * d), dm(n * d), dv(n * d), b(n), bm(n), bv(n);
  ScreenCopy screen(n, d);
  const LatentState state{
      {we.data(), n, d}, {m.data(), n, d}, {v.data(), n, d}, {wd.data(), n, d}, {dm.data(), n, d},
      {dv.data(), n, d}, b.data(),         bm.data(),        bv.data(),         &screen};
  backward_update(context_, {&codes, &d_values, matrix(g, rows, d), matrix(g, rows, d)}, state,
                  {{1e-3f, 0.0f, 0.999f, 1e-6f, 1.0f}, false}, nullptr);
  EXPECT_EQ(m, enc);
}

TEST_P(SparseTest, ValueGradientMatchesAndStopsAtZero) {
  for (const support::SparseCase& c : support::kSparseCases) {
    SCOPED_TRACE(c.name);
    const SparseCodes codes = c.codes();
    const auto w = c.weights(), g = c.rows_of(6);
    std::vector<float> out;
    value_gradient(context_, codes, matrix(g, c.rows, c.d), matrix(w, c.n, c.d), out);
    ASSERT_EQ(std::ssize(out), codes.pairs());
    for (int64_t i = 0; i < c.rows; ++i) {
      for (int64_t p = codes.row_offsets[i]; p < codes.row_offsets[i + 1]; ++p) {
        const float expected =
            reference::canonical_dot(g.data() + i * c.d, w.data() + codes.indices[p] * c.d, c.d);
        EXPECT_EQ(out[p], codes.values[p] > 0 ? expected : 0.0f);
      }
    }
  }
}

TEST_P(SparseTest, SortByLatentIsStableAndComplete) {
  const SparseCodes codes = ragged(500, 20);  // several parts
  PairsByLatent order;
  sort_by_latent(context_, codes, 20, codes.values.data(), nullptr, order);
  int64_t seen = 0;
  for (int64_t j = 0; j < 20; ++j) {
    for (int64_t o = order.offsets[j]; o < order.offsets[j + 1]; ++o, ++seen) {
      const int64_t pair = order.pairs[o], row = order.rows[o];
      EXPECT_EQ(codes.indices[pair], j);
      EXPECT_GE(pair, codes.row_offsets[row]);
      EXPECT_LT(pair, codes.row_offsets[row + 1]);
      if (o > order.offsets[j]) {
        EXPECT_LT(order.rows[o - 1], row);
      }
    }
  }
  const auto nonzero =
      std::count_if(codes.values.begin(), codes.values.end(), [](float v) { return v != 0; });
  EXPECT_EQ(seen, nonzero);
}

/// All of a layer's state, with what the update needs.
struct Layer {
  int64_t n, d;
  std::vector<float> we, wem, wev, wd, wdm, wdv, be, bem, bev;
  ScreenCopy screen;

  Layer(int64_t n_, int64_t d_)
      : n(n_),
        d(d_),
        we(normal(n * d, 11)),
        wem(n * d),
        wev(n * d),
        wd(normal(n * d, 12)),
        wdm(normal(n * d, 13, 1e-3f)),
        wdv(n * d),
        be(normal(n, 14)),
        bem(n),
        bev(n),
        screen(n, d) {
    for (int64_t j = 0; j < n; ++j) {
      double squares = 0;
      for (int64_t i = 0; i < d; ++i) squares += wd[j * d + i] * wd[j * d + i];
      for (int64_t i = 0; i < d; ++i) wd[j * d + i] /= static_cast<float>(std::sqrt(squares));
    }
  }
  LatentState state() {
    return {{we.data(), n, d},  {wem.data(), n, d},
            {wev.data(), n, d}, {wd.data(), n, d},
            {wdm.data(), n, d}, {wdv.data(), n, d},
            be.data(),          bem.data(),
            bev.data(),         &screen};
  }
};

TEST_P(SparseTest, UpdateMatchesDenseGradientsAndAdamInDouble) {
  const int64_t rows = 60, n = 50, d = 21;
  const SparseCodes codes = ragged(rows, n);
  auto d_values = normal(codes.pairs(), 16);
  for (int64_t p = 0; p < codes.pairs(); ++p) {
    if (codes.values[p] == 0) d_values[p] = 0;
  }
  const auto g = normal(rows * d, 17), x = normal(rows * d, 18);
  Layer layer(n, d);
  const Layer before(layer.n, layer.d);
  const AdamStep step{1e-3f, 0.9f, 0.999f, 1e-6f, 1.5f};
  std::vector<float> center(d);
  const BackwardInput input{&codes, &d_values, matrix(g, rows, d), matrix(x, rows, d)};
  backward_update(context_, input, layer.state(), {step, true}, center.data());

  const auto [ge, gd, gb, expected_center] =
      reference::dense_gradients(input, matrix(before.we, n, d), matrix(before.wd, n, d));
  for (int64_t c = 0; c < d; ++c) EXPECT_NEAR(center[c], expected_center[c], 1e-3);
  for (int64_t j = 0; j < n; ++j) {
    double along = 0, squares = 0;
    for (int64_t c = 0; c < d; ++c) along += gd[j * d + c] * before.wd[j * d + c];
    std::vector<double> row(d);
    for (int64_t c = 0; c < d; ++c) {
      double p = before.we[j * d + c], m = 0, v = 0;
      reference::adam(step, ge[j * d + c], p, m, v);
      EXPECT_NEAR(layer.we[j * d + c], p, 1e-5);
      row[c] = before.wd[j * d + c];
      m = before.wdm[j * d + c], v = 0;
      reference::adam(step, gd[j * d + c] - along * before.wd[j * d + c], row[c], m, v);
      squares += row[c] * row[c];
    }
    for (int64_t c = 0; c < d; ++c)
      EXPECT_NEAR(layer.wd[j * d + c], row[c] / std::sqrt(squares), 1e-5);
    double p = before.be[j], m = 0, v = 0;
    reference::adam(step, gb[j], p, m, v);
    EXPECT_NEAR(layer.be[j], p, 1e-5);
  }
}

TEST_P(SparseTest, UpdateHasTheSameBitsOnAnyThreadsAndInstructionSet) {
  const int64_t rows = 100, n = 333, d = 45;
  const SparseCodes codes = ragged(rows, n);
  const auto d_values = normal(codes.pairs(), 20), g = normal(rows * d, 21),
             x = normal(rows * d, 22);
  Layer first(n, d), second(n, d);
  std::vector<float> center1(d), center2(d);
  Context one({Device::cpu, 1});
  one.force_isa(Isa::scalar);
  const UpdateOptions options{{1e-3f, 0.9f, 0.999f, 1e-6f, 1.5f}, true};
  const BackwardInput input{&codes, &d_values, matrix(g, rows, d), matrix(x, rows, d)};
  backward_update(one, input, first.state(), options, center1.data());
  backward_update(context_, input, second.state(), options, center2.data());
  EXPECT_EQ(first.we, second.we);
  EXPECT_EQ(first.wd, second.wd);
  EXPECT_EQ(first.be, second.be);
  EXPECT_EQ(center1, center2);
  EXPECT_EQ(first.screen.norm(), second.screen.norm());
}

/// An update with every option: other widths of encoder and decoder, two rows of codes an input,
/// weights of their own.
struct GeneralProblem {
  static constexpr int64_t kRows = 40, kInputs = 20, kN = 37, kIn = 19, kOut = 34;
  SparseCodes codes = ragged(kRows, kN);
  std::vector<float> d_values = normal(codes.pairs(), 32), dec_values = normal(codes.pairs(), 33),
                     d_bias = normal(codes.pairs(), 34), shrink = normal(kN, 35),
                     g = normal(kRows * kOut, 36), x = normal(kInputs * kIn, 37),
                     we = normal(kN * kIn, 38), wd = normal(kN * kOut, 39), be = normal(kN, 40);
  std::vector<float> wem = std::vector<float>(kN * kIn), wev = wem,
                     wdm = std::vector<float>(kN * kOut), wdv = wdm, bem = std::vector<float>(kN),
                     bev = bem, center = std::vector<float>(kIn);
  ScreenCopy screen{kN, kIn};
  UpdateOptions options{
      {1e-2f, 0.0f, 0.999f, 1e9f, 1.0f}, false, 0.25f};  // a huge eps: the step is lr·g / eps

  BackwardInput input() const {
    return {&codes,      &d_values, matrix(g, kRows, kOut), matrix(x, kInputs, kIn),
            &dec_values, &d_bias,   shrink.data()};
  }
  LatentState state() {
    return {{we.data(), kN, kIn},
            {wem.data(), kN, kIn},
            {wev.data(), kN, kIn},
            {wd.data(), kN, kOut},
            {wdm.data(), kN, kOut},
            {wdv.data(), kN, kOut},
            be.data(),
            bem.data(),
            bev.data(),
            &screen};
  }
};

TEST_P(SparseTest, UpdateTakesEveryOption) {
  GeneralProblem p;
  const auto [e, d, b, c] = reference::dense_gradients(p.input(), p.state().w_enc, p.state().w_dec);
  const auto all = [](const auto& v) {
    return std::inner_product(v.begin(), v.end(), v.begin(), 0.0);
  };
  const double squares = gradient_squares(context_, p.input(), p.state(), p.options);
  EXPECT_NEAR(squares / (all(e) + all(d) + all(b)), 1, 1e-5);
  backward_update(context_, p.input(), p.state(), p.options, p.center.data());
  // β1 = 0 leaves the gradient itself in the first moment.
  const double scale = p.options.gradient_scale;
  for (size_t i = 0; i < e.size(); ++i) EXPECT_NEAR(p.wem[i], scale * e[i], 1e-4);
  for (size_t i = 0; i < d.size(); ++i) EXPECT_NEAR(p.wdm[i], scale * d[i], 1e-4);
  for (size_t i = 0; i < b.size(); ++i) EXPECT_NEAR(p.bem[i], scale * b[i], 1e-4);
  for (size_t i = 0; i < c.size(); ++i) EXPECT_NEAR(p.center[i], scale * c[i], 1e-4);
}

TEST_P(SparseTest, UpdateRefusesShapesThatDoNotFit) {
  GeneralProblem p;
  BackwardInput input = p.input();
  input.x.rows = 3;
  EXPECT_THROW(backward_update(context_, input, p.state(), p.options, nullptr), UsageError);
  input = p.input();
  input.g.cols = 5;
  EXPECT_THROW(gradient_squares(context_, input, p.state(), p.options), UsageError);
  const std::vector<float> short_of_one(p.codes.pairs() - 1);
  input = p.input();
  input.d_bias = &short_of_one;
  EXPECT_THROW(backward_update(context_, input, p.state(), p.options, nullptr), UsageError);
}

TEST_P(SparseTest, SumByLatentAddsEveryPair) {
  const SparseCodes codes = ragged(30, 12);
  const auto per_pair = normal(codes.pairs(), 45);
  std::vector<float> out;
  sum_by_latent(codes, per_pair, 13, out);
  std::vector<double> expected(13);
  for (int64_t p = 0; p < codes.pairs(); ++p) expected[codes.indices[p]] += per_pair[p];
  for (int j = 0; j < 13; ++j) EXPECT_NEAR(out[j], expected[j], 1e-5);
}

TEST_P(SparseTest, SilentLatentsDecayAndMove) {
  const int64_t n = 3, d = 4;
  Layer layer(n, d);
  const auto before = layer.wdm;
  SparseCodes codes;
  codes.row_offsets = {0, 0};
  const std::vector<float> none, g(d), x(d);
  std::vector<float> center(d);
  backward_update(context_, {&codes, &none, matrix(g, 1, d), matrix(x, 1, d)}, layer.state(),
                  {{1e-3f, 0.9f, 0.999f, 1e-6f, 1.0f}, false}, center.data());
  for (size_t i = 0; i < before.size(); ++i) EXPECT_FLOAT_EQ(layer.wdm[i], 0.9f * before[i]);
  EXPECT_NE(layer.wd, Layer(n, d).wd);
}

INSTANTIATE_TEST_SUITE_P(Isa, SparseTest, testing::ValuesIn(support::available_isas()),
                         support::isa_name);

}  // namespace
}  // namespace assay
