// The case table of the operations that have several back ends: the CPU's tests, the emulator's and
// a device's run the same cases against the same references.
#pragma once

#include <algorithm>
#include <cmath>
#include <limits>
#include <ostream>
#include <random>
#include <vector>

#include "kernels/backward_update.h"
#include "kernels/base/dtype.h"
#include "kernels/sparse_codes.h"
#include "kernels/topk.h"
#include "tests/support/reference.h"

namespace assay::support {

struct TopkCase {
  const char* name;
  int64_t rows, n, k;
  enum Kind { random, tied, constant, rising, zeros, infinite, nan } kind = random;

  std::vector<float> z() const {
    std::vector<float> values = reference::normal(rows * n, 31);
    constexpr float kInfinity = std::numeric_limits<float>::infinity();
    for (int64_t i = 0; i < rows * n; ++i) {
      const int64_t row = i / n, j = i % n;
      if (kind == tied) values[i] = std::round(values[i] * 4) / 4;
      if (kind == constant) values[i] = -1.5f;
      if (kind == rising) values[i] = static_cast<float>(j - n / 2);
      if (kind == zeros) values[i] = j % 3 == 0 ? -0.0f : j % 3 == 1 ? 0.0f : -std::abs(values[i]);
      if (kind == infinite)
        values[i] = j % 5 == 0 ? -kInfinity : j % 7 == 0 ? kInfinity : values[i];
      if (kind == nan && row % 2 == 1 && j == (row * 37) % n)
        values[i] = std::numeric_limits<float>::quiet_NaN();
    }
    return values;
  }
};
inline void PrintTo(const TopkCase& c, std::ostream* out) { *out << c.name; }

/// k on both sides of the kernel's 512, candidates that fill its 2,048 places, sizes beside its 256
/// and 1,024.
inline const TopkCase kTopkCases[] = {
    {"one_of_one", 1, 1, 1},
    {"one_row_all", 1, 33, 33},
    {"not_a_multiple", 7, 257, 5},
    {"exactly_a_step", 3, 1024, 32},
    {"past_a_step", 3, 1025, 32},
    {"many_columns", 2, 6144, 32},
    {"largest_streamed", 2, 4099, 512},
    {"smallest_radix", 2, 4099, 513},
    {"radix_all", 2, 700, 700},
    {"radix_wide", 1, 9001, 1152},
    {"no_rows", 0, 16, 2},
    {"ties", 6, 3000, 40, TopkCase::tied},
    {"ties_radix", 3, 3000, 900, TopkCase::tied},
    {"all_equal", 2, 3000, 100, TopkCase::constant},
    {"all_equal_radix", 2, 3000, 600, TopkCase::constant},
    {"every_element_rises", 2, 7000, 64, TopkCase::rising},
    {"signed_zeros_tie", 2, 900, 300, TopkCase::zeros},
    {"infinities", 3, 500, 200, TopkCase::infinite},
    {"nan_rows", 5, 1500, 12, TopkCase::nan},
    {"nan_rows_radix", 4, 1500, 700, TopkCase::nan},
};

/// Those that the benchmark times: AuxK's shape and a batch's.
inline const TopkCase kTopkTimed[] = {{"2048x6144_k32", 2048, 6144, 32},
                                      {"2048x6144_k192", 2048, 6144, 192},
                                      {"512x65536_k1152", 512, 65536, 1152}};

/// Activations and an encoder; what makes the selection hard is in the kind.
struct EncodeCase {
  const char* name;
  int64_t rows, d, n, k;
  enum Kind {
    random,
    /// latents in groups of eight equal rows: ties cross the edge of the selection
    tied,
    constant,   ///< all scores equal: more candidates than there is room for
    near_ties,  ///< latents differ by less than bf16 can tell apart
    tiny,       ///< scale 1e-12, every third latent smaller by 1e-4
    huge,       ///< scale 1e12, the same
    /// scale 1e-20, weights that are bf16: only x errs, by less than a square can show
    squares_underflow,
    vanishing,      ///< scale 1e-30: no square is left
    least,          ///< scale 1e-38: products that vdpbf16ps takes for zero
    rising,         ///< every latent beats the ones before
    nan_rows,       ///< rows 1 and 2 are not finite
    infinite_rows,  ///< one infinity, two of either sign, nothing else
    nan_weight,
    infinite_bias,
    huge_weights,  ///< every fifth latent's weights are finite and their squares are not
    overflowing,   ///< the same, and row 1 so large that its sums are not finite
    unscreenable,  ///< norms are finite, products as large as a sum may hold
    one_large,     ///< one latent's weights are 30 times the others': every bound grows
    offset         ///< x has a large part that all rows and dimensions share
  } kind = random;
  bool ranked = false;  ///< selection ranks rank_scale()·pre

  std::vector<float> x() const {
    std::vector<float> x = reference::normal(rows * d, 1);
    constexpr float kInfinity = std::numeric_limits<float>::infinity();
    for (float& v : x) v *= scale();
    for (float& v : x) v += kind == offset ? 10.0f : 0.0f;
    if (kind == nan_rows) x[d + d / 2] = std::numeric_limits<float>::quiet_NaN();
    if (kind == nan_rows) x[2 * d] = -kInfinity;
    if (kind == infinite_rows) x[3] = x[d] = kInfinity;
    if (kind == infinite_rows) x[d + 5] = -kInfinity;
    if (kind == infinite_rows) std::fill_n(x.begin() + 2 * d, d, kInfinity);
    for (int64_t c = d; c < 2 * d && kind == overflowing; ++c) x[c] *= 1e30f;
    return x;
  }
  std::vector<float> w() const {
    std::vector<float> w = reference::normal(n * d, 2);
    const auto base = reference::normal(d, 9);
    for (int64_t i = 0; i < n * d; ++i) {
      const int64_t j = i / d, c = i % d;
      if (kind == tied) w[i] = w[j / 8 * 8 * d + c];
      if (kind == near_ties) w[i] = base[c] * (1 + 1e-5f * w[i]);
      if (kind == squares_underflow) w[i] = to_float(to_bf16(w[i]));
      if ((kind == tiny || kind == huge) && j % 3 == 0) w[i] *= 1e-4f;
      if ((kind == huge_weights || kind == overflowing) && j % 5 == 0) w[i] *= 1e20f;
      if (kind == unscreenable) w[i] *= 1e18f;
      if (kind == one_large && j == n / 3) w[i] *= 30;
    }
    if (kind == nan_weight) w[n / 2 * d] = std::numeric_limits<float>::quiet_NaN();
    return w;
  }
  std::vector<float> bias() const {
    std::vector<float> bias = reference::normal(n, 3, 0.1f);
    for (int64_t j = 0; j < n; ++j) {
      if (kind == tied) bias[j] = bias[j / 8 * 8];
      if (kind == constant || kind == near_ties) bias[j] = 0.25f;
      if (kind == rising) bias[j] = 0.01f * static_cast<float>(j);
      if (kind == squares_underflow || kind == vanishing || kind == least) bias[j] = 0;
    }
    if (kind == infinite_bias) bias[n - 1] = -std::numeric_limits<float>::infinity();
    return bias;
  }
  std::vector<float> rank_scale() const {
    std::vector<float> ranks = reference::normal(n, 5);
    for (float& s : ranks)
      s = (0.05f + std::abs(s)) * (kind == tiny ? 1e-9f : kind == huge ? 1e9f : 1.0f);
    for (int64_t j = 0; j < n; ++j) {
      if (kind == tied) ranks[j] = ranks[j / 8 * 8];
      if (kind == constant || kind == near_ties) ranks[j] = 1.75f;
    }
    return ranks;
  }

 private:
  float scale() const {
    switch (kind) {
      case constant:
        return 0;
      case tiny:
        return 1e-12f;
      case huge:
        return 1e12f;
      case squares_underflow:
        return 1e-20f;
      case vanishing:
        return 1e-30f;
      case least:
        return 1e-38f;
      case unscreenable:
        return 1e18f;
      default:
        return 1;
    }
  }
};
inline void PrintTo(const EncodeCase& c, std::ostream* out) { *out << c.name; }

/// Sizes beside the tiles' 12 and 192 rows and 32 latents, odd d, k = 1 and k = n.
inline const EncodeCase kEncodeCases[] = {
    {"one_of_one", 1, 1, 1, 1},        {"one_row_all", 1, 16, 40, 40},
    {"not_a_multiple", 3, 7, 33, 5},   {"quickstart", 5, 384, 6144, 32},
    {"past_a_tile", 200, 31, 700, 16}, {"all", 64, 48, 97, 97},
    {"the_largest", 17, 64, 3000, 1},  {"many", 9, 65, 2049, 300},
    {"no_rows", 0, 8, 16, 2},          {"few_latents", 33, 128, 31, 8},
    {"wide", 3, 4096, 3000, 64},
};

/// k on both sides of what a device screens, scores that tie, nearly tie, fill every list, or are
/// not finite.
inline const EncodeCase kHardEncodeCases[] = {
    {"many_winners", 2, 17, 2049, 600},
    {"past_what_is_screened", 2, 4, 5000, 4500},
    {"ties", 6, 24, 1280, 12, EncodeCase::tied},
    {"all_equal", 3, 16, 4000, 32, EncodeCase::constant},
    {"more_exact_rows_than_blocks", 70, 4, 1100, 3, EncodeCase::near_ties},
    {"near_ties", 4, 32, 3000, 32, EncodeCase::near_ties},
    {"tiny", 4, 40, 500, 10, EncodeCase::tiny},
    {"huge", 4, 40, 500, 10, EncodeCase::huge},
    {"squares_underflow", 12, 40, 2000, 200, EncodeCase::squares_underflow},
    {"vanishing", 12, 40, 2000, 200, EncodeCase::vanishing},
    {"least", 12, 40, 2000, 200, EncodeCase::least},
    {"every_latent_rises", 2, 8, 8192, 64, EncodeCase::rising},
    {"nan_rows", 5, 20, 300, 8, EncodeCase::nan_rows},
    {"infinite_rows", 5, 20, 300, 8, EncodeCase::infinite_rows},
    {"infinite_rows_one_winner", 5, 20, 300, 1, EncodeCase::infinite_rows},
    {"nan_weight", 3, 20, 300, 8, EncodeCase::nan_weight},
    {"infinite_bias", 3, 20, 300, 8, EncodeCase::infinite_bias},
    {"huge_weights", 3, 20, 300, 8, EncodeCase::huge_weights},
    {"overflowing", 3, 20, 300, 8, EncodeCase::overflowing},
    {"unscreenable", 3, 20, 300, 8, EncodeCase::unscreenable},
    {"one_large_latent", 9, 64, 6000, 32, EncodeCase::one_large},
    {"common_offset", 9, 64, 6000, 32, EncodeCase::offset},
};

/// Selection by scale·pre: screened, beyond what is screened, tied, and without end.
inline const EncodeCase kRankedEncodeCases[] = {
    {"ranked", 9, 65, 2049, 40, EncodeCase::random, true},
    {"ranked_past_what_is_screened", 2, 4, 5000, 4500, EncodeCase::random, true},
    {"ranked_ties", 6, 24, 1280, 12, EncodeCase::tied, true},
    {"ranked_all_equal", 3, 16, 4000, 32, EncodeCase::constant, true},
    {"ranked_near_ties", 4, 32, 3000, 32, EncodeCase::near_ties, true},
    {"ranked_tiny", 4, 40, 500, 10, EncodeCase::tiny, true},
    {"ranked_huge", 4, 40, 500, 10, EncodeCase::huge, true},
    {"ranked_rising", 2, 8, 8192, 64, EncodeCase::rising, true},
    {"ranked_nan_rows", 5, 20, 300, 8, EncodeCase::nan_rows, true},
    {"ranked_infinite_rows", 5, 20, 300, 8, EncodeCase::infinite_rows, true},
    {"ranked_infinite_bias", 3, 20, 300, 8, EncodeCase::infinite_bias, true},
    {"ranked_huge_weights", 3, 20, 300, 8, EncodeCase::huge_weights, true},
    {"ranked_overflowing", 3, 20, 300, 8, EncodeCase::overflowing, true},
};

/// Those that the benchmark times, of encode_threshold as well.
inline const EncodeCase kEncodeTimed[] = {
    {"2048x384x6144_k32", 2048, 384, 6144, 32},
    {"2048x768x24576_k32", 2048, 768, 24576, 32},
    {"2048x384x6144_k256", 2048, 384, 6144, 256},
    {"192x4096x16384_k64", 192, 4096, 16384, 64},
    {"192x4096x16384_k128", 192, 4096, 16384, 128},
    {"1024x384x6144_k32_one_large", 1024, 384, 6144, 32, EncodeCase::one_large},
    {"1024x384x6144_k32_offset", 1024, 384, 6144, 32, EncodeCase::offset}};

/// Thresholds for an encoder, any density; `edges`: each is the exact score of one row, which is
/// not above it.
struct ThresholdCase {
  const char* name;
  EncodeCase encode;
  float level = 0, band = 0;
  bool edges = false;

  std::vector<float> theta() const {
    const EncodeCase& c = encode;
    auto theta = reference::normal(c.n, 4, 0.2f);
    const auto x = c.x(), w = c.w(), bias = c.bias();
    for (int64_t j = 0; j < c.n; ++j) {
      theta[j] += level;
      if (edges)
        theta[j] = reference::canonical_dot(x.data() + j % c.rows * c.d, w.data() + j * c.d, c.d) +
                   bias[j];
    }
    return theta;
  }
};
inline void PrintTo(const ThresholdCase& c, std::ostream* out) { *out << c.name; }

inline const EncodeCase kDense{"dense", 6, 24, 2500, 1};
inline const ThresholdCase kThresholdCases[] = {
    {"all_active", kDense, -20, 0.2f},
    {"half_active", kDense, 0, 0.2f},
    {"few_active", kDense, 5, 0.2f},
    {"none_active", kDense, 60, 0.2f},
    {"smallest", {"smallest", 1, 1, 1, 1}, -1, 0},
    {"no_rows", {"no_rows", 0, 8, 16, 1}},
    {"strict", {"strict", 12, 40, 200, 1}, 0, 0, true},
    {"narrow_band", {"narrow_band", 12, 40, 200, 1}, 0, 1e-6f, true},
    {"nan_rows", {"nan_rows", 9, 20, 300, 1, EncodeCase::nan_rows}, 1, 0.1f},
    {"infinite_rows", {"infinite_rows", 5, 20, 900, 1, EncodeCase::infinite_rows}, 1, 0.1f},
    {"nan_weight", {"nan_weight", 3, 20, 300, 1, EncodeCase::nan_weight}, 1, 0.1f},
    {"infinite_bias", {"infinite_bias", 3, 20, 300, 1, EncodeCase::infinite_bias}, 1, 0.1f},
    {"huge_weights", {"huge_weights", 3, 20, 300, 1, EncodeCase::huge_weights}, 1, 0.1f},
    {"overflowing", {"overflowing", 3, 20, 300, 1, EncodeCase::overflowing}, 1, 0.1f},
    {"unscreenable", {"unscreenable", 3, 20, 300, 1, EncodeCase::unscreenable}, 1, 0.1f},
};

/// Rows of pairs, some rows empty, some values zero or negative; d on both sides of 16 lanes and of
/// 128 threads.
struct SparseCase {
  const char* name;
  int64_t rows, n, d;
  int64_t keep_one_in = 4;  ///< pairs: one latent in so many
  bool bias = true, unit_norm = true;
  bool empty_rows = true;  ///< every fifth, where there are several
  int64_t d_in = 0;        ///< of the encoder that backward_update steps; 0: d

  SparseCodes codes() const {
    std::mt19937_64 engine(41);
    SparseCodes codes;
    for (int64_t i = 0; i < rows; ++i) {
      for (int64_t j = 0; j < n; ++j) {
        const uint64_t draw = engine();
        if ((empty_rows && i % 5 == 3 && rows > 1) ||
            draw % static_cast<uint64_t>(keep_one_in) != 0)
          continue;
        codes.indices.push_back(static_cast<int32_t>(j));
        const uint64_t value = engine() % 1200;
        codes.values.push_back(value % 6 == 0 ? 0.0f : static_cast<float>(value) / 500.0f - 0.3f);
      }
      codes.row_offsets.push_back(static_cast<int64_t>(codes.indices.size()));
    }
    return codes;
  }
  std::vector<float> weights() const { return reference::normal(n * d, 42); }
  std::vector<float> rows_of(uint64_t seed) const { return reference::normal(rows * d, seed); }
};
inline void PrintTo(const SparseCase& c, std::ostream* out) { *out << c.name; }

inline const SparseCase kSparseCases[] = {
    {"smallest", 1, 1, 1, 1},
    {"one_row", 1, 40, 16, 1},
    {"below_the_lanes", 9, 20, 15},
    {"past_the_lanes", 9, 20, 17},
    {"past_the_threads", 6, 30, 129},
    {"past_the_columns", 3, 12, 515},
    {"more_pairs_than_threads", 5, 300, 21, 1},
    {"no_bias_free_norm", 8, 33, 40, 3, false, false},
    {"no_rows", 0, 10, 8},
    {"silent_latents", 3, 50, 24, 20},
    {"narrow_encoder", 9, 40, 150, 4, true, true, true, 37},
    {"wide_encoder", 7, 30, 21, 4, true, true, true, 530},
};

/// Those that the benchmark times: k = n / keep_one_in pairs a row, about.
inline const SparseCase kSparseTimed[] = {
    {"2048x384x6144_k32", 2048, 6144, 384, 192, true, true, false},
    {"2048x768x24576_k32", 2048, 24576, 768, 768, true, true, false}};

/// Everything that backward_update changes, and what it reads. `every_option`: weights of their own
/// for decoder and bias, a shrinking decoder, inputs that repeat, clipping: what variants ask for.
struct UpdateProblem {
  int64_t n, d, d_in;
  bool every_option;
  SparseCodes codes;
  std::vector<float> dec_values, d_bias, shrink;
  std::vector<float> d_values, g, x, w_enc, w_enc_m, w_enc_v, w_dec, w_dec_m, w_dec_v, b_enc,
      b_enc_m, b_enc_v, center;
  ScreenCopy screen;
  UpdateOptions options;

  explicit UpdateProblem(const SparseCase& c, bool every_option_ = false)
      : n(c.n),
        d(c.d),
        d_in(c.d_in > 0 ? c.d_in : c.d),
        every_option(every_option_),
        codes(c.codes()),
        dec_values(reference::normal(codes.pairs(), 61)),
        d_bias(reference::normal(codes.pairs(), 62)),
        shrink(reference::normal(n, 63)),
        d_values(reference::normal(codes.pairs(), 51)),
        g(c.rows_of(52)),
        x(reference::normal(c.rows * d_in, 53)),
        w_enc(reference::normal(n * d_in, 42)),
        w_enc_m(reference::normal(n * d_in, 54, 1e-3f)),
        w_enc_v(n * d_in, 1e-4f),
        w_dec(reference::normal(n * d, 55, 0.2f)),
        w_dec_m(reference::normal(n * d, 56, 1e-3f)),
        w_dec_v(n * d, 2e-4f),
        b_enc(reference::normal(n, 57)),
        b_enc_m(n, 1e-3f),
        b_enc_v(n, 1e-5f),
        center(d_in, -1),
        screen(n, d_in),
        options{{1e-3f, 0.9f, 0.999f, 1e-6f, 1.5f}, c.unit_norm, every_option_ ? 0.37f : 1.0f} {}

  BackwardInput input() const {
    const int64_t rows = codes.rows();
    const int64_t repeats = every_option && rows % 3 == 0 ? 3 : 1;
    BackwardInput in{&codes, &d_values, {g.data(), rows, d}, {x.data(), rows / repeats, d_in}};
    if (every_option)
      in.dec_values = &dec_values, in.d_bias = &d_bias, in.dec_shrink = shrink.data();
    return in;
  }
  LatentState state() {
    const auto enc = [this](std::vector<float>& v) { return Matrix(v.data(), n, d_in); };
    const auto dec = [this](std::vector<float>& v) { return Matrix(v.data(), n, d); };
    return {enc(w_enc),   enc(w_enc_m), enc(w_enc_v),   dec(w_dec),     dec(w_dec_m),
            dec(w_dec_v), b_enc.data(), b_enc_m.data(), b_enc_v.data(), &screen};
  }
  void run(Context& context) { backward_update(context, input(), state(), options, center.data()); }
};

}  // namespace assay::support
