// backward_update on a device.
//   1. The pairs are ordered by latent, then row (sort_by_latent.cuh); each latent's bias gradient
//      is summed in that order by one warp.
//   2. The centre's gradient Σ_j db_enc[j]·W_enc[j], from the weights before the step: partial sums
//      over the CPU's parts of latents, a thread a column; then the parts in order. This reads
//      W_enc once more than the CPU does.
//   3. The step, a block a latent: each thread sums both gradients of its columns over the latent's
//      pairs in row order (four columns in registers at a time, the decoder's row kept in shared
//      memory), the block removes the decoder gradient's part along its row, takes both Adam steps,
//      renormalises, and refreshes the row's bf16 copy and norms. Dots are in canonical order, by
//      16 lanes. No floating-point atomics, no n×d gradient.
// Every sum runs in the CPU's order with the CPU's roundings (fused where it says so: compiled
// without contraction, with IEEE division and square root), so parameters, moments and centre have
// the CPU's bits by construction.
//
// gradient_squares sums the same gradients, a block a latent, both rows in shared memory; the host
// adds the latents' squares in the CPU's parts.
//
// Workspace: 20 bytes a latent, 32 a pair, 128·d floats, and (d + 3) floats of shared memory a
// block. Speed: not measured (no device yet).
#pragma once

#include <cmath>
#include <numeric>
#include <utility>

#include "kernels/backward_update.h"
#include "kernels/cuda/encode_topk.cuh"
#include "kernels/cuda/sort_by_latent.cuh"

namespace assay {

/// The scalar primitive's Adam, operation by operation.
ASSAY_DEVICE inline void adam_step(const AdamStep& s, float g, float& p, float& m, float& v) {
  m = fmaf(s.beta1, m, (1 - s.beta1) * g);
  v = fmaf(s.beta2, v, ((1 - s.beta2) * g) * g);
  p -= s.lr * m / (sqrtf(v * s.v_scale) + s.eps);
}

/// A parameter and its Adam moments in a machine's memory.
struct DeviceParameter {
  Matrix value, m, v;
};

/// The memory of one.
struct ParameterOn {
  int64_t rows, cols;
  Buffer<float> value, m, v;

  ParameterOn(Machine& machine, int64_t rows_, int64_t cols_)
      : rows(rows_),
        cols(cols_),
        value(machine, rows * cols),
        m(machine, rows * cols),
        v(machine, rows * cols) {}
  DeviceParameter view() const {
    return {{value.data(), rows, cols}, {m.data(), rows, cols}, {v.data(), rows, cols}};
  }
};

/// What backward_update takes, in a machine's memory.
struct DeviceUpdate {
  ConstMatrix g;  ///< [B', d_out]
  ConstMatrix x;  ///< [B, d_in], B divides B': row r reads x row r mod B
  SortedPairs sorted;
  const float* dec_shrink;   ///< [n] or null
  DeviceParameter enc, dec;  ///< [n, d_in], [n, d_out]
  DeviceParameter bias;      ///< [1, n]
  DeviceCopy copy;           ///< of the encoder, refreshed, the padding left alone
  UpdateOptions options;
  float* center_parts = nullptr;  ///< [center_parts_of(n), d_in] workspace
  float* center = nullptr;        ///< [d_in] or null
  /// null, or: nothing is changed where this is not NumericFlag::kNone
  const long long* bad = nullptr;

  ASSAY_DEVICE bool stopped() const { return bad != nullptr && *bad != NumericFlag::kNone; }
  ASSAY_DEVICE float scaled(float gradient) const {
    return options.gradient_scale != 1 ? gradient * options.gradient_scale : gradient;
  }
};

/// The parts the centre's gradient is summed in: the CPU's.
constexpr int64_t center_parts_of(int64_t n) {
  const int64_t blocks = (n + kScreenBlock - 1) / kScreenBlock;
  return blocks < kCenterParts ? blocks : kCenterParts;
}

/// The first latent of a part, n for the one behind the last.
constexpr int64_t first_of_part(int64_t n, int64_t part) {
  const int64_t first =
      (n + kScreenBlock - 1) / kScreenBlock * part / center_parts_of(n) * kScreenBlock;
  return first < n ? first : n;
}

/// Σ_j (Σ enc)·W_enc[j] over the latents of one part; a thread a column.
struct CenterPartKernel {
  static constexpr const char* kName = "backward_update: centre";
  static constexpr int kThreads = 128;
  DeviceUpdate u;

  template <class Thread>
  ASSAY_DEVICE void operator()(Thread& t) const {
    const int64_t n = u.enc.value.rows, d = u.enc.value.cols;
    const int64_t columns = (d + kThreads - 1) / kThreads;
    const int64_t part = t.block() / columns, c = t.block() % columns * kThreads + t.thread();
    if (c >= d) return;
    const int64_t end = first_of_part(n, part + 1);
    float sum = 0;
    for (int64_t j = first_of_part(n, part); j < end; ++j) {
      const float weight = u.scaled(u.sorted.enc[j]);
      if (weight != 0) sum = fmaf(weight, u.enc.value.row(j)[c], sum);
    }
    u.center_parts[part * d + c] = sum;
  }
};

/// The parts' sum, in order; a thread a column.
struct CenterSumKernel {
  static constexpr const char* kName = "backward_update: centre's sum";
  static constexpr int kThreads = 128;
  DeviceUpdate u;

  template <class Thread>
  ASSAY_DEVICE void operator()(Thread& t) const {
    const int64_t d = u.enc.value.cols, c = t.block() * kThreads + t.thread();
    if (c >= d) return;
    float sum = 0;
    for (int64_t part = 0; part < center_parts_of(u.enc.value.rows); ++part)
      sum += u.center_parts[part * d + c];
    u.center[c] = sum;
  }
};

/// Both gradient rows of a latent, by a block.
struct LatentGradient {
  static constexpr int kThreads = 128;
  static constexpr int kColumns = 4;  // a thread sums at a time, kThreads apart
  DeviceUpdate u;

  /// enc(c, sum) and dec(c, sum) for this thread's columns c.
  template <class Thread, class Enc, class Dec>
  ASSAY_DEVICE void sum(Thread& t, Enc enc, Dec dec) const {
    const int64_t j = t.block();
    sum_pairs(
        t, j, u.x, [](const LatentPair& p) { return p.enc; }, enc);
    sum_pairs(
        t, j, u.g, [](const LatentPair& p) { return p.dec; },
        [&](int64_t c, float total) {
          dec(c, u.dec_shrink != nullptr ? fmaf(u.dec_shrink[j], u.dec.value.row(j)[c], total)
                                         : total);
        });
  }

 private:
  /// done(c, Σ weight(pair)·rows[pair's row][c]) for this thread's columns c, the sum in row order.
  template <class Thread, class Weight, class Done>
  ASSAY_DEVICE void sum_pairs(Thread& t, int64_t j, ConstMatrix rows, Weight weight,
                              Done done) const {
    const int64_t begin = u.sorted.offsets[j], end = u.sorted.offsets[j + 1], d = rows.cols;
    for (int64_t first = t.thread(); first < d; first += kThreads * kColumns) {
      float sum[kColumns] = {};
      for (int64_t o = begin; o < end; ++o) {
        const LatentPair pair = u.sorted.pairs[o];
        const float w = weight(pair);
        const float* row = rows.row(pair.row < rows.rows ? pair.row : pair.row % rows.rows);
        for (int c = 0; c < kColumns; ++c) {
          if (first + c * kThreads < d) sum[c] = fmaf(w, row[first + c * kThreads], sum[c]);
        }
      }
      for (int c = 0; c < kColumns; ++c) {
        if (first + c * kThreads < d) done(first + c * kThreads, sum[c]);
      }
    }
  }
};

/// Both gradient rows of a latent and its whole step; a block a latent.
struct LatentStepKernel {
  static constexpr const char* kName = "backward_update: step";
  static constexpr int kThreads = LatentGradient::kThreads;
  DeviceUpdate u;

  static size_t shared_bytes(int64_t d_out) {
    return static_cast<size_t>(d_out + 3) * sizeof(float);
  }

  template <class Thread>
  ASSAY_DEVICE void operator()(Thread& t) const {
    if (u.stopped()) return;
    float* gradient = reinterpret_cast<float*>(t.shared());  // [d_out] of the decoder's row
    float* slots = gradient + u.dec.value.cols;              // [3]
    const int64_t j = t.block(), d_in = u.enc.value.cols, d_out = u.dec.value.cols,
                  width = padded_depth(d_in);
    float *enc = u.enc.value.row(j), *dec = u.dec.value.row(j);
    LatentGradient{u}.sum(
        t,
        [&](int64_t c, float sum) {
          adam_step(u.options.adam, u.scaled(sum), enc[c], u.enc.m.row(j)[c], u.enc.v.row(j)[c]);
          u.copy.rows[j * width + c] = to_bf16(enc[c]);
        },
        [&](int64_t c, float sum) { gradient[c] = sum; });
    t.sync();
    if (t.thread() < 2 * kWarp) three_dots(t, enc, d_in, gradient, dec, d_out, slots);
    t.sync();
    if (t.thread() == 0) {
      u.copy.norm[j] = sqrtf(slots[1]) * norm_margin(d_in) + norm_floor(d_in);
      u.copy.error[j] = sqrtf(slots[2]) * norm_margin(d_in) + norm_floor(d_in);
      adam_step(u.options.adam, u.scaled(u.sorted.bias[j]), u.bias.value.data[j], u.bias.m.data[j],
                u.bias.v.data[j]);
    }
    const float along = -slots[0];
    for (int64_t c = t.thread(); c < d_out; c += kThreads) {
      const float projected = u.options.unit_norm ? fmaf(along, dec[c], gradient[c]) : gradient[c];
      adam_step(u.options.adam, u.scaled(projected), dec[c], u.dec.m.row(j)[c], u.dec.v.row(j)[c]);
    }
    if (u.options.unit_norm) normalise(t, dec, d_out, slots);
  }

 private:
  /// The canonical dots (decoder gradient, decoder), (encoder, encoder), and of the encoder's
  /// rounding with itself, by the halves of the first two warps.
  template <class Thread>
  ASSAY_DEVICE static void three_dots(Thread& t, const float* enc, int64_t d_in,
                                      const float* gradient, const float* dec, int64_t d_out,
                                      float* slots) {
    const int half = t.thread() / 16;
    const auto rounding = [enc](int64_t i) { return enc[i] - to_float(to_bf16(enc[i])); };
    const auto left = [&](int64_t i) {
      return half == 0 ? gradient[i] : half == 1 ? enc[i] : rounding(i);
    };
    const auto right = [&](int64_t i) {
      return half == 0 ? dec[i] : half == 1 ? enc[i] : rounding(i);
    };
    const float dot = canonical_dot_of(t, half == 0 ? d_out : half < 3 ? d_in : 0, left, right);
    if (half < 3 && t.thread() % 16 == 0) slots[half] = dot;
  }

  template <class Thread>
  ASSAY_DEVICE static void normalise(Thread& t, float* dec, int64_t d, float* slot) {
    t.sync();  // the row is written, and the slots have been read
    if (t.thread() < kWarp) {
      const float squares = canonical_dot(t, dec, dec, d);
      if (t.thread() == 0) *slot = squares;
    }
    t.sync();
    const float scale = 1 / sqrtf(*slot);
    for (int64_t c = t.thread(); c < d; c += kThreads) dec[c] *= scale;
  }
};

/// The square of a latent's gradient, as gradient_squares has it; a block a latent.
struct LatentSquaresKernel {
  static constexpr const char* kName = "gradient_squares";
  static constexpr int kThreads = LatentGradient::kThreads;
  DeviceUpdate u;   ///< of the parameters only the decoder is read
  double* squares;  ///< [n]

  static size_t shared_bytes(int64_t d_in, int64_t d_out) {
    return static_cast<size_t>(d_in + d_out + 1) * sizeof(float);
  }

  template <class Thread>
  ASSAY_DEVICE void operator()(Thread& t) const {
    const int64_t j = t.block(), d_in = u.x.cols, d_out = u.g.cols;
    auto* enc = reinterpret_cast<float*>(t.shared());  // [d_in]
    float *dec = enc + d_in, *slot = dec + d_out;      // [d_out], [1]
    LatentGradient{u}.sum(
        t, [&](int64_t c, float sum) { enc[c] = sum; },
        [&](int64_t c, float sum) { dec[c] = sum; });
    t.sync();
    if (u.options.unit_norm) project(t, dec, u.dec.value.row(j), d_out, slot);
    if (t.thread() >= kWarp) return;
    const bool first = t.thread() < kWarp / 2;
    const float dot = canonical_dot(t, first ? enc : dec, first ? enc : dec, first ? d_in : d_out);
    const float other = t.shuffle_xor(dot, kWarp / 2), bias = u.sorted.bias[j];
    if (t.thread() == 0) squares[j] = static_cast<double>(dot) + other + bias * bias;
  }

 private:
  template <class Thread>
  ASSAY_DEVICE static void project(Thread& t, float* gradient, const float* row, int64_t d,
                                   float* slot) {
    if (t.thread() < kWarp) {
      const float along = canonical_dot(t, gradient, row, d);
      if (t.thread() == 0) *slot = -along;
    }
    t.sync();
    for (int64_t c = t.thread(); c < d; c += kThreads)
      gradient[c] = fmaf(*slot, row[c], gradient[c]);
    t.sync();
  }
};

/// Launches the kernels in order, from pairs that are sorted.
template <class M>
void launch_backward_update(const M& machine, const DeviceUpdate& u) {
  const int64_t n = u.enc.value.rows,
                columns = blocks_of(u.enc.value.cols, CenterPartKernel::kThreads);
  if (u.center != nullptr) {
    machine(CenterPartKernel{u}, center_parts_of(n) * columns, 0);
    machine(CenterSumKernel{u}, columns, 0);
  }
  machine(LatentStepKernel{u}, n, LatentStepKernel::shared_bytes(u.dec.value.cols));
}

/// A parameter with its moments, staged through a machine's memory.
struct StagedParameter {
  Matrix p, m, v;
  DeviceMatrix device_p, device_m, device_v;

  StagedParameter(Machine& machine, Matrix p_, Matrix m_, Matrix v_)
      : p(p_), m(m_), v(v_), device_p(machine, p), device_m(machine, m), device_v(machine, v) {}
  DeviceParameter view() const { return {device_p.view(), device_m.view(), device_v.view()}; }
  void download() const {
    device_p.download(p);
    device_m.download(m);
    device_v.download(v);
  }
};

/// What backward_update reads, in a machine's memory, its pairs by latent.
template <class M>
class StagedBackward {
 public:
  StagedBackward(M& machine, const BackwardInput& input, int64_t n)
      : sort_(machine, n, input.codes->pairs()),
        g_(machine, input.g),
        x_(machine, input.x),
        shrink_(machine, input.dec_shrink, input.dec_shrink != nullptr ? n : 0) {
    const auto& dec = input.dec_values != nullptr ? *input.dec_values : input.codes->values;
    const auto& bias = input.d_bias != nullptr ? *input.d_bias : *input.d_values;
    const Buffer<int64_t> row_offsets(machine, input.codes->row_offsets);
    const Buffer<int32_t> indices(machine, input.codes->indices);
    const Buffer<float> decode(machine, dec), encode(machine, *input.d_values),
        bias_of_pair(machine, bias);
    check_distinct(*input.codes, dec, *input.d_values, n);
    sort_.run(
        {row_offsets.data(), indices.data(), decode.data(), encode.data(), bias_of_pair.data()},
        input.codes->rows());
  }

  /// Without the parameters.
  DeviceUpdate update(const UpdateOptions& options) const {
    DeviceUpdate u{};
    u.g = g_.view(), u.x = x_.view(), u.sorted = sort_.sorted(), u.options = options;
    u.dec_shrink = shrink_.count() > 0 ? shrink_.data() : nullptr;
    return u;
  }

 private:
  /// The sort tells a latent's pairs apart by their rows.
  static void check_distinct(const SparseCodes& codes, const std::vector<float>& dec,
                             const std::vector<float>& enc, int64_t n) {
    std::vector<int64_t> last_row(n, -1);
    for (int64_t i = 0; i < codes.rows(); ++i) {
      for (int64_t p = codes.row_offsets[i]; p < codes.row_offsets[i + 1]; ++p) {
        if (dec[p] == 0 && enc[p] == 0) continue;
        if (std::exchange(last_row[codes.indices[p]], i) != i) continue;
        throw UsageError("backward_update on a device: latent " + std::to_string(codes.indices[p]) +
                         " has two pairs in row " + std::to_string(i) + "; add them up");
      }
    }
  }

  SortByLatentOn<M> sort_;
  DeviceMatrix g_, x_;
  Buffer<float> shrink_;
};

/// backward_update on host views through a machine's memory; LatentState::screen is left to the
/// caller.
template <class M>
void backward_update_on(M& machine, const BackwardInput& input, const LatentState& state,
                        const UpdateOptions& options, float* center_gradient) {
  const int64_t n = state.w_enc.rows, d_in = state.w_enc.cols;
  const StagedBackward<M> backward(machine, input, n);
  const StagedParameter enc(machine, state.w_enc, state.w_enc_m, state.w_enc_v),
      dec(machine, state.w_dec, state.w_dec_m, state.w_dec_v);
  const StagedParameter bias(machine, {state.b_enc, 1, n}, {state.b_enc_m, 1, n},
                             {state.b_enc_v, 1, n});
  const ScreenCopyOn copy(machine, n, d_in);
  const Buffer<float> parts(machine, center_parts_of(n) * d_in), center(machine, d_in);
  DeviceUpdate u = backward.update(options);
  u.enc = enc.view(), u.dec = dec.view(), u.bias = bias.view(), u.copy = copy.view();
  u.center_parts = parts.data(), u.center = center_gradient != nullptr ? center.data() : nullptr;
  launch_backward_update(machine, u);
  for (const StagedParameter* parameter : {&enc, &dec, &bias}) parameter->download();
  if (center_gradient != nullptr) center.download(center_gradient);
}

/// gradient_squares on host views through a machine's memory: the latents' squares are added in the
/// CPU's parts.
template <class M>
double gradient_squares_on(M& machine, const BackwardInput& input, const LatentState& state,
                           const UpdateOptions& options) {
  const int64_t n = state.w_enc.rows, parts = center_parts_of(n);
  const StagedBackward<M> backward(machine, input, n);
  const DeviceMatrix dec(machine, state.w_dec);
  const Buffer<double> of_latent(machine, n);
  DeviceUpdate u = backward.update(options);
  u.dec.value = dec.view();
  machine(LatentSquaresKernel{u, of_latent.data()}, n,
          LatentSquaresKernel::shared_bytes(u.x.cols, u.g.cols));
  const std::vector<double> squares = of_latent.read();
  double sum = 0;
  for (int64_t part = 0; part < parts; ++part) {
    sum += std::accumulate(squares.begin() + first_of_part(n, part),
                           squares.begin() + first_of_part(n, part + 1), 0.0);
  }
  return sum;
}

}  // namespace assay
