// How the device encoders screen: rounded rows and their error bounds, the state of a search. See
// encode_topk.cuh.
#pragma once

#include <algorithm>

#include "kernels/base/numeric_flag.h"
#include "kernels/base/view.h"
#include "kernels/cuda/block_select.cuh"
#include "kernels/cuda/machine.h"
#include "kernels/screen_copy.h"

namespace assay {

/// The bf16 copy of an encoder in a machine's memory.
struct DeviceCopy {
  bf16* rows;    ///< [n, padded_depth(d)], zero padded
  float* norm;   ///< [n] upper bounds of ‖w_j‖, and
  float* error;  ///< [n] of ‖bf16(w_j) − w_j‖
};

/// An encoder in a machine's memory.
struct DeviceEncoder {
  ConstMatrix w;                 ///< [n, d] fp32 master weights
  const float* bias;             ///< [n]
  DeviceCopy copy;               ///< of w
  const float* scale = nullptr;  ///< [n] or null: Encoder::rank_scale

  ASSAY_DEVICE float rank(int64_t j, float pre) const {
    return scale != nullptr ? pre * scale[j] : pre;
  }
};

/// Which latents may win: all, or those silent for `dead_after` tokens, of which there are *count.
struct Eligible {
  const int64_t* silent = nullptr;
  int64_t dead_after = 0;
  const int32_t* count = nullptr;

  ASSAY_DEVICE bool operator()(int64_t j) const {
    return silent == nullptr || silent[j] >= dead_after;
  }
  ASSAY_DEVICE int64_t winners(int64_t k) const {
    return count == nullptr || k < *count ? k : *count;
  }
};

/// Where rows that are not finite are reported: the least of base + row is kept.
struct DeviceFlag {
  long long* bad;
  long long base = 0;

  ASSAY_DEVICE bool raised() const { return *bad != NumericFlag::kNone; }
};

/// One encoding in progress, in a machine's memory.
struct DeviceSearch {
  static constexpr int kWidest = 5;
  DeviceEncoder encoder;
  Matrix x;  ///< [B, d] centred
  int64_t k;
  Eligible eligible;
  bool rectify;      ///< values = max(pre, 0)
  int32_t* indices;  ///< [B, k] of the result
  float* values;
  DeviceFlag flag;
  bf16* rounded = nullptr;  ///< [B, padded_depth(d)] of x
  RowBound* bounds = nullptr;
  float* thresholds = nullptr;        ///< [B]
  int32_t* counts = nullptr;          ///< [B] candidates; −1 = hand the row to the exact path
  int64_t capacity = 0;               ///< of a row's candidates; 0 = every row is exact
  BlockSelect::Item* kept = nullptr;  ///< [B, capacity] by index, the key of score with bias
  /// [1 + B] how many, then the rows of the exact path in any order
  int32_t* overflow = nullptr;
  /// [kWidest] bits of the largest norm, error, |rank of the bias| and scale; then not 0 where a
  /// weight, a bias or a scale is not finite
  uint32_t* widest = nullptr;
  float* scratch = nullptr;  ///< [ExactRowsKernel::kBlocks, n]

  ASSAY_DEVICE float error_of(const RowBound& b, int64_t j) const {
    return encoder.rank(j, b.by_norm * encoder.copy.norm[j] + b.by_error * encoder.copy.error[j] +
                               flushed_products(x.cols)) +
           shift_rounding(encoder.rank(j, encoder.bias[j]));
  }
  ASSAY_DEVICE Widest most() const {
    return {std::bit_cast<float>(widest[0]), std::bit_cast<float>(widest[1]),
            std::bit_cast<float>(widest[2]), std::bit_cast<float>(widest[3])};
  }
  ASSAY_DEVICE bool encoder_finite() const { return widest[4] == 0; }
  template <class Thread>
  ASSAY_DEVICE void overflows(int64_t row) const {
    overflow[1 + Thread::fetch_add(overflow, 1)] = static_cast<int32_t>(row);
  }
  ASSAY_DEVICE void write(int64_t row, int64_t where, int32_t index, float value) const {
    indices[row * k + where] = index;
    values[row * k + where] = rectify && value < 0 ? 0.0f : value;
  }
  template <class Thread>
  ASSAY_DEVICE void reject(Thread& t, int64_t row) const {
    if (t.thread() == 0) Thread::atomic_min(flag.bad, flag.base + row);
    for (int64_t c = t.thread(); c < k; c += BlockSelect::kThreads)
      write(row, c, static_cast<int32_t>(c), 0);
  }
  /// The places beyond the winners, where fewer than k latents are eligible.
  template <class Thread>
  ASSAY_DEVICE void fill(Thread& t, int64_t row, int64_t winners) const {
    for (int64_t c = winners + t.thread(); c < k; c += BlockSelect::kThreads) write(row, c, 0, 0);
  }
  /// The canonical scores of latents latent(0…count−1), 16 lanes each: one of them calls done(c,
  /// latent, score).
  template <class Thread, class Latent, class Done>
  ASSAY_DEVICE void score(Thread& t, int64_t row, int64_t count, Latent latent, Done done) const {
    for (int64_t base = 0; base < count; base += BlockSelect::kThreads / 16) {
      const int64_t c = base + t.thread() / 16;
      const int64_t j = c < count ? latent(c) : 0;
      const float dot = canonical_dot(t, x.row(row), encoder.w.row(j), c < count ? x.cols : 0);
      if (c < count && t.thread() % 16 == 0) done(c, j, dot + encoder.bias[j]);
    }
  }
};

/// Rounds a row to bf16 by 16 neighbouring lanes and gives upper bounds of its norm and of its
/// rounding error's: the bits of round_row on the CPU. All 32 lanes must call; count 0 for none.
template <class Thread>
ASSAY_DEVICE RoundedRow round_row(Thread& t, const float* row, int64_t count, bf16* out,
                                  int64_t width) {
  const auto rounding = [row](int64_t i) { return row[i] - to_float(to_bf16(row[i])); };
  const auto value = [row](int64_t i) { return row[i]; };
  for (int64_t i = t.thread() % 16; i < (count > 0 ? width : 0); i += 16)
    out[i] = to_bf16(i < count ? row[i] : 0.0f);
  const float squares = canonical_dot_of(t, count, value, value);
  const float errors = canonical_dot_of(t, count, rounding, rounding);
  return {sqrtf(squares) * norm_margin(count) + norm_floor(count),
          sqrtf(errors) * norm_margin(count) + norm_floor(count)};
}

/// The bf16 copy and norms of rows; 16 lanes a row.
struct RefreshCopyKernel {
  static constexpr const char* kName = "encode_topk: copy";
  static constexpr int kThreads = 128;
  static constexpr int64_t kRows = kThreads / 16;
  ConstMatrix w;
  DeviceCopy copy;

  template <class Thread>
  ASSAY_DEVICE void operator()(Thread& t) const {
    const int64_t j = t.block() * kRows + t.thread() / 16, width = padded_depth(w.cols);
    const bool there = j < w.rows;
    const RoundedRow r =
        round_row(t, there ? w.row(j) : nullptr, there ? w.cols : 0, copy.rows + j * width, width);
    if (there && t.thread() % 16 == 0) {
      copy.norm[j] = r.norm;
      copy.error[j] = r.error;
    }
  }
};

/// Centres rows (where there is a centre), rounds them and starts their search, after WidestKernel;
/// 16 lanes a row.
struct StartRowsKernel {
  static constexpr const char* kName = "encode_topk: rows";
  static constexpr int kThreads = 128;
  static constexpr int64_t kRows = kThreads / 16;
  DeviceSearch s;
  ConstMatrix from;     ///< [B, d] what is centred into s.x
  const float* centre;  ///< [d]; null: x is there already

  template <class Thread>
  ASSAY_DEVICE void operator()(Thread& t) const {
    const int64_t i = t.block() * kRows + t.thread() / 16, d = s.x.cols, width = padded_depth(d);
    const bool there = i < s.x.rows;
    if (there && centre != nullptr) {  // a lane reads below what it writes here
      for (int64_t c = t.thread() % 16; c < d; c += 16) s.x.row(i)[c] = from.row(i)[c] - centre[c];
    }
    const RoundedRow r =
        round_row(t, there ? s.x.row(i) : nullptr, there ? d : 0, s.rounded + i * width, width);
    if (!there || t.thread() % 16 != 0) return;
    // γ: a product of two bf16 is exact; each of at most 2d truncated additions of a tensor core
    // loses 2⁻²³ of a sum that is at most (‖x‖ + ‖δx‖)(‖w‖ + ‖δw‖), doubled for safety; the
    // canonical dot's own rounding is far below.
    const float gamma = static_cast<float>(d + 16) * 0x1p-21f;
    const RowBound bound = row_bound(r, gamma);
    s.bounds[i] = bound;
    s.thresholds[i] =
        -3.402823466e38f;  // the lowest: what is not eligible stands below, at nothing
    s.counts[i] = s.capacity > 0 && screenable(s.most(), r, bound, d) ? 0 : -1;
  }
};

/// DeviceSearch::widest, from zeros.
struct WidestKernel {
  static constexpr const char* kName = "encode_topk: widest";
  static constexpr int kThreads = 128;
  static constexpr int64_t kLatents = kThreads * 8;
  DeviceSearch s;

  template <class Thread>
  ASSAY_DEVICE void operator()(Thread& t) const {
    constexpr int kWidest = DeviceSearch::kWidest, kMagnitudes = kWidest - 1;
    uint32_t most[kWidest] = {};
    const int64_t end = (t.block() + 1) * kLatents;
    for (int64_t j = t.block() * kLatents + t.thread();
         j < (end < s.encoder.w.rows ? end : s.encoder.w.rows); j += kThreads) {
      const float values[kMagnitudes] = {s.encoder.copy.norm[j], s.encoder.copy.error[j],
                                         s.encoder.rank(j, s.encoder.bias[j]),
                                         s.encoder.rank(j, 1.0f)};
      if (!finite(j)) most[kMagnitudes] = 1;
      for (int v = 0; v < kMagnitudes; ++v) {
        const uint32_t bits =
            std::bit_cast<uint32_t>(values[v]) & 0x7fffffffu;  // as rises the magnitude
        most[v] = bits > most[v] ? bits : most[v];
      }
    }
    for (int v = 0; v < kWidest; ++v) {
      for (int mask = kWarp / 2; mask > 0; mask /= 2) {
        const uint32_t other = t.shuffle_xor(most[v], mask);
        most[v] = other > most[v] ? other : most[v];
      }
      if (t.thread() % kWarp == 0) Thread::atomic_max(&s.widest[v], most[v]);
    }
  }

 private:
  /// Of weights that are finite the norm may still overflow.
  ASSAY_DEVICE bool finite(int64_t j) const {
    const DeviceEncoder& e = s.encoder;
    if (e.bias[j] - e.bias[j] != 0 || e.rank(j, 1.0f) - e.rank(j, 1.0f) != 0) return false;
    if (e.copy.norm[j] - e.copy.norm[j] == 0) return true;
    float differences = 0;  // NaN from the first weight on that is not finite
    for (int64_t c = 0; c < e.w.cols; ++c) differences += e.w.row(j)[c] - e.w.row(j)[c];
    return differences == 0;
  }
};

/// The memory of a screening copy, and what fills it.
class ScreenCopyOn {
 public:
  ScreenCopyOn(Machine& machine, int64_t n, int64_t d)
      : rows_(machine, n * padded_depth(d)), norm_(machine, n), error_(machine, n) {}

  DeviceCopy view() const { return {rows_.data(), norm_.data(), error_.data()}; }
  template <class M>
  void refresh(const M& machine, ConstMatrix w) const {
    machine(RefreshCopyKernel{w, view()}, blocks_of(w.rows, RefreshCopyKernel::kRows), 0);
  }

 private:
  Buffer<bf16> rows_;
  Buffer<float> norm_, error_;
};

/// What a search over up to `rows` rows of d dimensions screens with, and the product in tiles that
/// stay in cache.
template <class M>
class ScreeningOn {
 public:
  /// latents: n, or 0 where nothing is to be screened.
  ScreeningOn(M& machine, int64_t rows, int64_t d, int64_t latents)
      : machine_(machine),
        tile_rows_(std::min<int64_t>(rows, 4096)),
        tile_latents_(latents_of_tile(machine.tile_bytes(), tile_rows_, latents)),
        rounded_(machine, rows * padded_depth(d)),
        bounds_(machine, rows),
        thresholds_(machine, rows),
        counts_(machine, rows),
        widest_(machine, DeviceSearch::kWidest),
        tile_(machine, tile_rows_ * tile_latents_) {}

  /// Starts the search of from − centre (written to s.x), or of s.x itself where centre is null.
  void start(DeviceSearch& s, ConstMatrix from, const float* centre) {
    s.rounded = rounded_.data(), s.bounds = bounds_.data(), s.thresholds = thresholds_.data();
    s.counts = counts_.data(), s.widest = widest_.data();
    widest_.clear();
    machine_(WidestKernel{s}, blocks_of(s.encoder.w.rows, WidestKernel::kLatents), 0);
    machine_(StartRowsKernel{s, from, centre}, blocks_of(s.x.rows, StartRowsKernel::kRows), 0);
  }
  /// Waits for what has been started.
  bool encoder_finite() const { return widest_.read().back() == 0; }

  /// body(tile [rows, latents], first row, first latent) for each tile of the product.
  template <class Body>
  void for_each_tile(const DeviceSearch& s, const Body& body) {
    const int64_t width = padded_depth(s.x.cols), n = s.encoder.w.rows;
    for (int64_t row = 0; row < s.x.rows; row += tile_rows_) {
      const int64_t rows = std::min(tile_rows_, s.x.rows - row);
      for (int64_t j = 0; j < n; j += tile_latents_) {
        const int64_t latents = std::min(tile_latents_, n - j);
        machine_.product(s.rounded + row * width, rows, s.encoder.copy.rows + j * width, latents,
                         width, tile_.data());
        body(ConstMatrix(tile_.data(), rows, latents), row, j);
      }
    }
  }

 private:
  /// How many latents a tile of so many rows takes to have about `bytes`.
  static int64_t latents_of_tile(int64_t bytes, int64_t rows, int64_t n) {
    const int64_t fit = bytes / (4 * std::max<int64_t>(1, rows)) / 64 * 64;
    return std::min(n, std::max<int64_t>(64, fit));
  }

  M& machine_;
  int64_t tile_rows_, tile_latents_;
  Buffer<bf16> rounded_;
  Buffer<RowBound> bounds_;
  Buffer<float> thresholds_;
  Buffer<int32_t> counts_;
  Buffer<uint32_t> widest_;
  Buffer<float> tile_;
};

}  // namespace assay
