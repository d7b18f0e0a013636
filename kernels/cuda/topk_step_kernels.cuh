// The kernels of the device step that are not an operation of their own; see topk_step.cuh for
// their order.
#pragma once

#include "kernels/cuda/backward_update.cuh"
#include "kernels/cuda/sparse_decode.cuh"
#include "kernels/cuda/value_gradient.cuh"

namespace assay {

/// What the host reads now and then.
struct TopKTotals {
  double fvu, aux_loss;  ///< sums over the steps
  long long active, steps;
  int dead;  ///< of the last step
};

/// Decodes a row, turns the reconstruction into its gradient, and takes the gradient of its pairs'
/// values; a block a row.
struct ReconstructKernel {
  static constexpr const char* kName = "step: reconstruction";
  static constexpr int kThreads = SparseDecodeKernel::kThreads;
  SparseDecodeKernel decode;     ///< into g
  ValueGradientKernel gradient;  ///< of g
  ConstMatrix target;            ///< [B, d]
  float* residual;               ///< [B, d] target − reconstruction, or null
  double* row_loss;              ///< [B] its square
  double numerator;              ///< g = numerator / (B·variance)·(target − reconstruction)
  double variance;
  /// null, or: in place of variance; nothing is to be learnt where it is 0
  const double* measured;
  DeviceFlag flag;

  static size_t shared_bytes() { return sizeof(SparseDecodeKernel::Shared); }

  template <class Thread>
  ASSAY_DEVICE void operator()(Thread& t) const {
    static_assert(kThreads == ValueGradientKernel::kThreads);
    decode(t);
    const int64_t row = t.block(), d = target.cols;
    const double spread = measured != nullptr ? *measured : variance;
    const float factor =
        spread > 0 ? static_cast<float>(numerator / (static_cast<double>(target.rows) * spread))
                   : 0;
    float* g = decode.out.row(row);
    for (int64_t c = t.thread(); c < d; c += kThreads) {  // the columns this thread has decoded
      g[c] = target.row(row)[c] - g[c];
      if (residual != nullptr) residual[row * d + c] = g[c];
    }
    t.sync();
    if (t.thread() < kWarp) {
      const float squares = canonical_dot(t, g, g, d);
      if (t.thread() == 0) row_loss[row] = squares;
      if (t.thread() == 0 && !(squares - squares == 0))
        Thread::atomic_min(flag.bad, flag.base + row);
    }
    t.sync();  // the residual has been read
    for (int64_t c = t.thread(); c < d; c += kThreads) g[c] *= factor;
    t.sync();  // the gradient stands
    gradient(t);
  }
};

/// Which latents have fired; a thread a latent.
struct SilenceKernel {
  static constexpr const char* kName = "step: silence";
  static constexpr int kThreads = 128;
  const int32_t* counts;  ///< [n] pairs of each latent that are not zero
  int64_t n, batch, dead_after;
  int64_t* silent;        ///< [n]
  int32_t* dead;          ///< how many
  uint32_t* most_silent;  ///< the largest silence, capped
  int32_t* active;        ///< pairs that are not zero
  DeviceFlag flag;

  template <class Thread>
  ASSAY_DEVICE void operator()(Thread& t) const {
    if (flag.raised()) return;
    const int64_t j = t.block() * kThreads + t.thread();
    int32_t fired = 0;
    int64_t silence = 0;
    if (j < n) {
      fired = counts[j];
      silence = silent[j] = fired > 0 ? 0 : silent[j] + batch;
    }
    const uint32_t votes = t.ballot(j < n && silence >= dead_after);
    auto most = static_cast<uint32_t>(silence < 0xffffffffll ? silence : 0xffffffffll);
    for (int mask = kWarp / 2; mask > 0; mask /= 2) {
      const uint32_t other = t.shuffle_xor(most, mask);
      most = other > most ? other : most;
      fired += t.shuffle_xor(fired, mask);
    }
    if (t.thread() % kWarp != 0) return;
    Thread::atomic_add(dead, Thread::count_bits(votes));
    Thread::atomic_add(active, fired);
    Thread::atomic_max(most_silent, most);
  }
};

/// Columns of a matrix read by a block, so that 32 of its threads may go down them row by row.
struct ColumnTile {
  static constexpr int kRows = 64;
  static constexpr int kThreads = 256;
  float values[kRows][kWarp];

  /// body(value) for the rows in order, by thread c < 32 for column first + c.
  template <class Thread, class Body>
  ASSAY_DEVICE void for_each_row(Thread& t, ConstMatrix m, int64_t first, Body body) {
    const int64_t column = first + t.thread() % kWarp;
    for (int64_t base = 0; base < m.rows; base += kRows) {
      const int64_t rows = m.rows - base < kRows ? m.rows - base : kRows;
      for (int64_t r = t.thread() / kWarp; r < rows; r += kThreads / kWarp) {
        if (column < m.cols) values[r][t.thread() % kWarp] = m.row(base + r)[column];
      }
      t.sync();
      if (t.thread() < kWarp && column < m.cols) {
        for (int64_t r = 0; r < rows; ++r) body(values[r][t.thread()]);
      }
      t.sync();
    }
  }
};

/// The variance of each column, in double; a block 32 columns.
struct ColumnVarianceKernel {
  static constexpr const char* kName = "step: residual's variance";
  static constexpr int kThreads = ColumnTile::kThreads;
  ConstMatrix m;
  double* out;  ///< [cols]

  template <class Thread>
  ASSAY_DEVICE void operator()(Thread& t) const {
    auto& tile = *reinterpret_cast<ColumnTile*>(t.shared());
    const int64_t first = t.block() * kWarp;
    const auto rows = static_cast<double>(m.rows);
    double sum = 0, squares = 0;
    tile.for_each_row(t, m, first, [&](float v) { sum += v; });
    const double mean = sum / rows;
    tile.for_each_row(t, m, first, [&](float v) { squares += (v - mean) * (v - mean); });
    if (t.thread() < kWarp && first + t.thread() < m.cols) out[first + t.thread()] = squares / rows;
  }
};

/// Their sum, in order; one warp.
struct VarianceSumKernel {
  static constexpr const char* kName = "step: residual's variance";
  static constexpr int kThreads = kWarp;
  const double* columns;
  int64_t count;
  double* out;

  template <class Thread>
  ASSAY_DEVICE void operator()(Thread& t) const {
    const double sum = ordered_sum(t, count, [this](int64_t c) { return columns[c]; });
    if (t.thread() == 0) *out = sum;
  }
};

/// b_dec moves x̂ directly (the batch's own rows) and every encoder input backwards; a block 32
/// columns. A warp sums 128 rows in order, then the first adds the parts in order: the CPU's
/// column_sums.
struct DecoderBiasKernel {
  static constexpr const char* kName = "step: decoder bias";
  static constexpr int kThreads = 256;
  static constexpr int64_t kRows = 128;
  ConstMatrix g;        ///< [B, d]
  const float* center;  ///< [d]
  AdamStep adam;
  float *b_dec, *b_dec_m, *b_dec_v;
  DeviceFlag flag;

  static constexpr int64_t parts(int64_t rows) { return (rows + kRows - 1) / kRows; }
  static size_t shared_bytes(int64_t rows) {
    return static_cast<size_t>(parts(rows)) * kWarp * sizeof(float);
  }

  template <class Thread>
  ASSAY_DEVICE void operator()(Thread& t) const {
    auto* sums = reinterpret_cast<float*>(t.shared());  // [parts, 32]
    const int lane = t.thread() % kWarp;
    const int64_t c = t.block() * kWarp + lane;
    for (int64_t part = t.thread() / kWarp; part < parts(g.rows); part += kThreads / kWarp) {
      const int64_t end = (part + 1) * kRows < g.rows ? (part + 1) * kRows : g.rows;
      float sum = 0;
      for (int64_t i = part * kRows; i < (c < g.cols ? end : 0); ++i) sum += g.row(i)[c];
      sums[part * kWarp + lane] = sum;
    }
    t.sync();
    if (t.thread() >= kWarp || c >= g.cols || flag.raised()) return;
    float sum = 0;
    for (int64_t part = 0; part < parts(g.rows); ++part) sum += sums[part * kWarp + lane];
    adam_step(adam, sum - center[c], b_dec[c], b_dec_m[c], b_dec_v[c]);
  }
};

/// Adds the step to the totals; one warp.
struct FinishStepKernel {
  static constexpr const char* kName = "step: totals";
  static constexpr int kThreads = kWarp;
  const double *row_loss, *aux_row_loss;  ///< [B]; aux null where AuxK did not run
  int64_t rows;
  double variance;
  const double* aux_variance;
  const int32_t *dead, *active;
  TopKTotals* totals;
  DeviceFlag flag;

  template <class Thread>
  ASSAY_DEVICE void operator()(Thread& t) const {
    if (flag.raised()) return;
    const auto scale = static_cast<double>(rows);
    const double loss = ordered_sum(t, rows, [this](int64_t i) { return row_loss[i]; });
    const bool learns = aux_row_loss != nullptr && *dead > 0 && *aux_variance > 0;
    const double aux =
        ordered_sum(t, learns ? rows : 0, [this](int64_t i) { return aux_row_loss[i]; });
    if (t.thread() != 0) return;
    totals->fvu += loss / (scale * variance);
    if (learns) totals->aux_loss += aux / (scale * *aux_variance);
    totals->active += *active;
    totals->steps += 1;
    totals->dead = *dead;
  }
};

}  // namespace assay
