// Pairs ordered by latent, then row, in a machine's memory: what weight gradients sum in. A
// counting sort whose last pass makes it stable: latents are counted (integer atomics), their
// offsets summed, the pairs scattered to their latent in any order, and each latent's pairs ranked
// by a bitmap over the rows.
#pragma once

#include <string>

#include "kernels/base/error.h"
#include "kernels/cuda/block_select.cuh"
#include "kernels/cuda/machine.h"

namespace assay {

/// An active pair as its latent sees it.
struct LatentPair {
  int32_t row;     ///< of g
  float dec, enc;  ///< what weighs g in dW_dec, and x in dW_enc
  float bias;      ///< ∂L/∂b_enc
};

/// Codes and their weights. A latent occurs at most once a row; pairs of which neither weight
/// counts are left out.
struct PairSource {
  const int64_t* row_offsets;  ///< [B + 1]
  const int32_t* indices;
  const float *dec, *enc, *bias;  ///< of each pair
  int64_t first_row = 0;          ///< row of g that row 0 belongs to

  ASSAY_DEVICE bool counts(int64_t p) const { return dec[p] != 0 || enc[p] != 0; }
};

/// Pairs in the order that weight gradients sum in, and what each latent's weigh together.
struct SortedPairs {
  const int32_t* offsets;   ///< [n + 1]
  const LatentPair* pairs;  ///< by latent, then row
  const float *bias, *enc;  ///< [n] Σ bias and Σ enc of each latent's pairs
};

/// Adds each latent's pairs to `counts`; a block a row.
struct CountPairsKernel {
  static constexpr const char* kName = "sort by latent: counts";
  static constexpr int kThreads = 64;
  PairSource from;
  int32_t* counts;  ///< [n]

  template <class Thread>
  ASSAY_DEVICE void operator()(Thread& t) const {
    for (int64_t p = from.row_offsets[t.block()] + t.thread(); p < from.row_offsets[t.block() + 1];
         p += kThreads) {
      if (from.counts(p)) Thread::atomic_add(&counts[from.indices[p]], 1);
    }
  }
};

/// Where each latent's pairs begin; one block.
struct OffsetsKernel {
  static constexpr const char* kName = "sort by latent: offsets";
  static constexpr int kThreads = BlockSelect::kThreads;
  static constexpr int kEach = 16;  // counts a thread sums at a time
  const int32_t* counts;            ///< [n]
  int64_t n;
  int32_t* offsets;  ///< [n + 1]
  int32_t* next;     ///< [n] a copy that the scatter moves on

  template <class Thread>
  ASSAY_DEVICE void operator()(Thread& t) const {
    auto& s = *reinterpret_cast<BlockSelect::Shared*>(t.shared());
    int32_t before = 0;
    for (int64_t base = 0; base < n; base += kThreads * kEach) {
      const int64_t first = base + t.thread() * kEach, end = first + kEach < n ? first + kEach : n;
      int own = 0;
      for (int64_t j = first; j < end; ++j) own += counts[j];
      const int reached = BlockSelect::inclusive_sum(t, s, own);
      int32_t at = before + reached - own;
      for (int64_t j = first; j < end; ++j) {
        offsets[j] = next[j] = at;
        at += counts[j];
      }
      if (t.thread() == kThreads - 1) s.bin = reached;
      t.sync();
      before += s.bin;  // read by all before the next sum's barrier
    }
    if (t.thread() == 0) offsets[n] = before;
  }
};

/// Brings the pairs to their latents, in any order within one; a block a row.
struct ScatterPairsKernel {
  static constexpr const char* kName = "sort by latent: scatter";
  static constexpr int kThreads = 64;
  PairSource from;
  int32_t* next;
  LatentPair* to;

  template <class Thread>
  ASSAY_DEVICE void operator()(Thread& t) const {
    for (int64_t p = from.row_offsets[t.block()] + t.thread(); p < from.row_offsets[t.block() + 1];
         p += kThreads) {
      if (!from.counts(p)) continue;
      to[Thread::fetch_add(&next[from.indices[p]], 1)] = {
          static_cast<int32_t>(from.first_row + t.block()), from.dec[p], from.enc[p], from.bias[p]};
    }
  }
};

/// Puts a latent's pairs in row order, and sums their bias and encoder weights in it; a block a
/// latent.
struct OrderPairsKernel {
  static constexpr const char* kName = "sort by latent: order";
  static constexpr int kThreads = 128;
  const int32_t* offsets;  ///< [n + 1]
  const LatentPair* from;
  LatentPair* to;
  int64_t rows;       ///< of g
  float *bias, *enc;  ///< [n] Σ bias and Σ enc of each latent

  static size_t shared_bytes(int64_t rows) { return static_cast<size_t>(words(rows)) * 8; }

  template <class Thread>
  ASSAY_DEVICE void operator()(Thread& t) const {
    const int64_t j = t.block(), begin = offsets[j], count = offsets[j + 1] - begin;
    if (count > 1) {
      rank(t, begin, count);
    } else if (t.thread() < count) {
      to[begin] = from[begin];
    }
    t.sync();
    if (t.thread() >= kWarp) return;
    const float bias_sum = ordered_sum(t, count, [&](int64_t p) { return to[begin + p].bias; });
    const float enc_sum = ordered_sum(t, count, [&](int64_t p) { return to[begin + p].enc; });
    if (t.thread() == 0) {
      bias[j] = bias_sum;
      enc[j] = enc_sum;
    }
  }

 private:
  ASSAY_DEVICE static constexpr int64_t words(int64_t rows) { return (rows + 31) / 32; }

  template <class Thread>
  ASSAY_DEVICE void rank(Thread& t, int64_t begin, int64_t count) const {
    auto* bits = reinterpret_cast<uint32_t*>(t.shared());  // [words] the latent's rows
    auto* before =
        reinterpret_cast<int32_t*>(bits + words(rows));  // [words] rows in the words before
    for (int64_t w = t.thread(); w < words(rows); w += kThreads) bits[w] = 0;
    t.sync();
    for (int64_t p = t.thread(); p < count; p += kThreads) {
      Thread::atomic_or(&bits[from[begin + p].row / 32], 1u << from[begin + p].row % 32);
    }
    t.sync();
    if (t.thread() < kWarp) count_before(t, bits, before);
    t.sync();
    for (int64_t p = t.thread(); p < count; p += kThreads) {
      const LatentPair pair = from[begin + p];
      const uint32_t below = bits[pair.row / 32] & ((1u << pair.row % 32) - 1);
      to[begin + before[pair.row / 32] + Thread::count_bits(below)] = pair;
    }
  }

  /// By the first warp.
  template <class Thread>
  ASSAY_DEVICE void count_before(Thread& t, const uint32_t* bits, int32_t* before) const {
    int carried = 0;
    for (int64_t base = 0; base < words(rows); base += kWarp) {
      const int64_t w = base + t.thread();
      const int own = w < words(rows) ? Thread::count_bits(bits[w]) : 0;
      int reached = own;
      for (int delta = 1; delta < kWarp; delta *= 2) {
        const int lower = t.shuffle_up(reached, delta);
        if (t.thread() >= delta) reached += lower;
      }
      if (w < words(rows)) before[w] = carried + reached - own;
      carried += t.shuffle(reached, kWarp - 1);
    }
  }
};

/// The buffers of a sort of up to `pairs` pairs over n latents, and the kernels in order. Throws
/// UsageError where there are more pairs than offsets count.
template <class M>
class SortByLatentOn {
 public:
  SortByLatentOn(M& machine, int64_t n, int64_t pairs)
      : machine_(machine),
        n_(n),
        counts_(machine, n),
        offsets_(machine, n + 1),
        next_(machine, n),
        scattered_(machine, counted(pairs)),
        ordered_(machine, pairs),
        bias_(machine, n),
        enc_(machine, n) {}

  /// counts [n] of what has been counted since.
  const int32_t* counts() const { return counts_.data(); }
  SortedPairs sorted() const {
    return {offsets_.data(), ordered_.data(), bias_.data(), enc_.data()};
  }

  /// All of one source.
  void run(const PairSource& from, int64_t rows) {
    start();
    count(from, rows);
    place();
    scatter(from, rows);
    finish(rows);
  }
  // Step by step, for several sources: start, count each, place, scatter each, finish.
  void start() { counts_.clear(); }
  void count(const PairSource& from, int64_t rows) {
    machine_(CountPairsKernel{from, counts_.data()}, rows, 0);
  }
  void place() {
    machine_(OffsetsKernel{counts_.data(), n_, offsets_.data(), next_.data()}, 1,
             sizeof(BlockSelect::Shared));
  }
  void scatter(const PairSource& from, int64_t rows) {
    machine_(ScatterPairsKernel{from, next_.data(), scattered_.data()}, rows, 0);
  }
  /// rows: of all sources together.
  void finish(int64_t rows) {
    machine_(OrderPairsKernel{offsets_.data(), scattered_.data(), ordered_.data(), rows,
                              bias_.data(), enc_.data()},
             n_, OrderPairsKernel::shared_bytes(rows));
  }

 private:
  static int64_t counted(int64_t pairs) {
    if (pairs <= kMostCounted) return pairs;
    throw UsageError("sort by latent: " + std::to_string(pairs) +
                     " active pairs are more than a device's " + std::to_string(kMostCounted) +
                     "; take fewer rows or a smaller k");
  }

  M& machine_;
  int64_t n_;
  Buffer<int32_t> counts_, offsets_, next_;
  Buffer<LatentPair> scattered_, ordered_;
  Buffer<float> bias_, enc_;
};

}  // namespace assay
