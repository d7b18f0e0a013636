// The body of topk_cuda.cu; see there for the algorithm.
#pragma once

#include <bit>
#include <cmath>

#include "kernels/cuda_thread.cuh"
#include "kernels/view.h"

namespace assay {

/// One block a row.
struct TopkKernel {
  static constexpr const char* kName = "topk";
  static constexpr int kThreads = 256;       // also the bins of a radix pass
  static constexpr int kUnroll = 4;          // elements a thread loads before the block looks at them
  static constexpr int kCapacity = 2048;     // candidates held in shared memory
  static constexpr int64_t kStreamed = 512;  // the largest k that streams through them

  ConstMatrix z;       ///< [B, n]
  int64_t k;           ///< 1…n
  bool by_value;       ///< order of the result
  int32_t* indices;    ///< [B, k]
  float* values;       ///< [B, k]
  long long* bad_row;  ///< the smallest row with a NaN is kept here

  struct Shared {
    int histogram[kThreads];
    int warp_sums[kThreads / kWarp];
    int bin, before_bin;
    uint32_t keys[kCapacity];
    int32_t places[kCapacity];
  };

  struct Item {
    uint32_t key;  ///< rises with the value; 0 for a NaN and for nothing at all
    int32_t place;
  };

  /// What is chosen: every key above `key`, and the first `ties` that equal it.
  struct Choice {
    uint32_t key;
    int64_t ties;
  };

  template <class Thread>
  ASSAY_DEVICE void operator()(Thread& t) const {
    Shared& s = *reinterpret_cast<Shared*>(t.shared());
    const int64_t row = t.block();
    const float* from = z.row(row);
    bool nan = false;
    const auto load = [&](int64_t i) {
      const float value = from[i];
      nan = nan || value != value;
      return Item{key_of(value), static_cast<int32_t>(i)};
    };
    const auto put = [&](int64_t where, Item item) {
      indices[row * k + where] = item.place;
      values[row * k + where] = from[item.place];
    };
    if (k <= kStreamed) {
      const int64_t held = stream(t, s, load);
      if (!t.sync_or(nan)) {
        const auto candidate = [&](int64_t i) { return Item{s.keys[i], s.places[i]}; };
        gather(t, s, candidate, held, choose(t, s, candidate, held), put);
      }
    } else {
      const Choice choice = choose(t, s, load, z.cols);
      if (!t.sync_or(nan)) gather(t, s, load, z.cols, choice, put);
    }
    if (t.sync_or(nan)) {
      reject(t, row);
    } else if (by_value) {
      sort(t, indices + row * k, values + row * k);
    }
  }

 private:
  ASSAY_DEVICE static uint32_t key_of(float value) {
    if (value != value) return 0;
    const uint32_t bits = value == 0 ? 0 : std::bit_cast<uint32_t>(value);  // −0 ties with 0
    return (bits >> 31) != 0 ? ~bits : bits | 0x80000000u;                  // −∞ is 0x007fffff: above nothing's 0
  }

  /// How many threads before this one have the flag; `total` = how many of the block. Ends with shared memory free.
  template <class Thread>
  ASSAY_DEVICE static int rank(Thread& t, Shared& s, bool flag, int& total) {
    const uint32_t votes = t.ballot(flag);
    const int warp = t.thread() / kWarp, lane = t.thread() % kWarp;
    if (lane == 0) s.warp_sums[warp] = Thread::count_bits(votes);
    t.sync();
    int before = Thread::count_bits(votes & ((1u << lane) - 1));
    total = 0;
    for (int w = 0; w < kThreads / kWarp; ++w) {
      if (w < warp) before += s.warp_sums[w];
      total += s.warp_sums[w];
    }
    t.sync();
    return before;
  }

  /// The sum of `value` over this thread and those before it.
  template <class Thread>
  ASSAY_DEVICE static int inclusive_sum(Thread& t, Shared& s, int value) {
    const int warp = t.thread() / kWarp, lane = t.thread() % kWarp;
    for (int delta = 1; delta < kWarp; delta *= 2) {
      const int below = t.shuffle_up(value, delta);
      if (lane >= delta) value += below;
    }
    if (lane == kWarp - 1) s.warp_sums[warp] = value;
    t.sync();
    for (int w = 0; w < warp; ++w) value += s.warp_sums[w];
    return value;
  }

  /// The k-th largest key of count >= k items, byte by byte from the top.
  template <class Thread, class Items>
  ASSAY_DEVICE Choice choose(Thread& t, Shared& s, Items item_at, int64_t count) const {
    uint32_t key = 0;
    int64_t wanted = k;
    for (int shift = 24; shift >= 0; shift -= 8) {
      s.histogram[t.thread()] = 0;
      t.sync();
      for (int64_t i = t.thread(); i < count; i += kThreads) {
        const uint32_t candidate = item_at(i).key;
        if (shift == 24 || (candidate ^ key) >> (shift + 8) == 0) {
          Thread::atomic_add(&s.histogram[candidate >> shift & 255u], 1);
        }
      }
      t.sync();
      const int bin = kThreads - 1 - t.thread();
      const int own = s.histogram[bin], reached = inclusive_sum(t, s, own);
      if (reached >= wanted && reached - own < wanted) {
        s.bin = bin;
        s.before_bin = reached - own;
      }
      t.sync();
      key |= static_cast<uint32_t>(s.bin) << shift;
      wanted -= s.before_bin;
    }
    return {key, wanted};
  }

  /// Puts the chosen items, in the order they stand in, at 0…k−1. `put` may write where items before were read from.
  /// What was put is there for all after the next barrier.
  template <class Thread, class Items, class Put>
  ASSAY_DEVICE static void gather(Thread& t, Shared& s, Items item_at, int64_t count, Choice choice, Put put) {
    int64_t written = 0, ties = 0;
    for (int64_t base = 0; base < count; base += kThreads) {
      const int64_t i = base + t.thread();
      const Item item = i < count ? item_at(i) : Item{0, 0};
      if (!t.sync_or(item.key >= choice.key)) continue;
      int tied = 0, taken = 0;
      const bool tie = item.key == choice.key;
      const int tie_rank = rank(t, s, tie, tied);
      const bool take = item.key > choice.key || (tie && ties + tie_rank < choice.ties);
      const int where = rank(t, s, take, taken);
      if (take) put(written + where, item);
      ties += tied;
      written += taken;
    }
  }

  /// One pass over the row: what rises above the k-th best so far is appended to the candidates, which are cut back to
  /// the k best when they fill. An equal of the k-th best comes later than it, so it never wins. Returns how many
  /// stand, for all to read after the next barrier.
  template <class Thread, class Load>
  ASSAY_DEVICE int64_t stream(Thread& t, Shared& s, Load load) const {
    int64_t held = 0;
    uint32_t bar = 0;
    for (int64_t base = 0; base < z.cols; base += kThreads * kUnroll) {
      Item items[kUnroll];
      bool rises = false;
      for (int u = 0; u < kUnroll; ++u) {
        const int64_t i = base + u * kThreads + t.thread();
        items[u] = i < z.cols ? load(i) : Item{0, 0};
        rises = rises || items[u].key > bar;
      }
      if (!t.sync_or(rises)) continue;
      for (int u = 0; u < kUnroll; ++u) {
        int taken = 0;
        const int where = rank(t, s, items[u].key > bar, taken);
        if (items[u].key > bar) {
          s.keys[held + where] = items[u].key;
          s.places[held + where] = items[u].place;
        }
        held += taken;
      }
      if (held > kCapacity - kThreads * kUnroll) {
        bar = cut_back(t, s, held);
        held = k;
      }
    }
    return held;
  }

  /// Keeps the k best of the held candidates and returns the k-th best's key.
  template <class Thread>
  ASSAY_DEVICE uint32_t cut_back(Thread& t, Shared& s, int64_t held) const {
    const auto candidate = [&](int64_t i) { return Item{s.keys[i], s.places[i]}; };
    const Choice choice = choose(t, s, candidate, held);
    gather(t, s, candidate, held, choice, [&](int64_t where, Item item) {
      s.keys[where] = item.key;
      s.places[where] = item.place;
    });
    return choice.key;
  }

  template <class Thread>
  ASSAY_DEVICE void reject(Thread& t, int64_t row) const {
    if (t.thread() == 0) Thread::atomic_min(bad_row, row);
    for (int64_t c = t.thread(); c < k; c += kThreads) {
      indices[row * k + c] = static_cast<int32_t>(c);
      values[row * k + c] = 0;
    }
  }

  /// Batcher's bitonic sort in the form whose comparisons all point one way, so that places beyond k need not exist.
  template <class Thread>
  ASSAY_DEVICE void sort(Thread& t, int32_t* index, float* value) const {
    const auto compare = [&](int64_t i, int64_t j) {
      if (j >= k || value[i] > value[j] || (value[i] == value[j] && index[i] < index[j])) return;
      const float v = value[i];
      const int32_t at = index[i];
      value[i] = value[j];
      index[i] = index[j];
      value[j] = v;
      index[j] = at;
    };
    int64_t pairs = 1;
    while (2 * pairs < k) pairs *= 2;
    for (int64_t size = 2; size / 2 < k; size *= 2) {
      for (int64_t p = t.thread(); p < pairs; p += kThreads) {
        const int64_t first = p / (size / 2) * size, offset = p % (size / 2);
        compare(first + offset, first + size - 1 - offset);
      }
      t.sync();
      for (int64_t half = size / 4; half > 0; half /= 2) {
        for (int64_t p = t.thread(); p < pairs; p += kThreads) {
          const int64_t i = p / half * 2 * half + p % half;
          compare(i, i + half);
        }
        t.sync();
      }
    }
  }
};

}  // namespace assay
