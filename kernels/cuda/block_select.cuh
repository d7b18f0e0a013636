// Selection by one block of 256 threads: keys that rise with their floats, radix selection of the
// k-th, gathering in order, and streaming into a list. See topk.cuh for the algorithm.
#pragma once

#include <bit>
#include <cmath>

#include "kernels/cuda/cuda_thread.cuh"

namespace assay {

struct BlockSelect {
  static constexpr int kThreads = 256;  // also the bins of a radix pass
  static constexpr int kUnroll = 4;     // elements a thread loads before the block looks at them
  static constexpr int kStep = kThreads * kUnroll;

  struct Shared {
    int histogram[kThreads];
    int warp_sums[kThreads / kWarp];
    int bin, before_bin;
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

  /// Items in shared memory.
  struct List {
    uint32_t* keys;
    int32_t* places;
    int64_t capacity;

    ASSAY_DEVICE Item operator()(int64_t i) const { return {keys[i], places[i]}; }
    ASSAY_DEVICE void put(int64_t i, Item item) const {
      keys[i] = item.key;
      places[i] = item.place;
    }
  };

  /// Shared memory of a block whose list has a fixed capacity.
  template <int kCapacity>
  struct SharedList {
    Shared select;
    uint32_t keys[kCapacity];
    int32_t places[kCapacity];

    ASSAY_DEVICE List list() { return {keys, places, kCapacity}; }
  };

  ASSAY_DEVICE static uint32_t key_of(float value) {
    if (value != value) return 0;
    const uint32_t bits = value == 0 ? 0 : std::bit_cast<uint32_t>(value);  // −0 ties with 0
    return (bits >> 31) != 0 ? ~bits : bits | 0x80000000u;  // −∞ is 0x007fffff: above nothing's 0
  }

  /// The float of a key but 0.
  ASSAY_DEVICE static float value_of(uint32_t key) {
    return std::bit_cast<float>((key >> 31) != 0 ? key & 0x7fffffffu : ~key);
  }

  /// How many threads before this one have the flag; `total` = how many of the block. Ends with
  /// shared memory free.
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
  ASSAY_DEVICE static Choice choose(Thread& t, Shared& s, Items item_at, int64_t count, int64_t k) {
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

  /// Puts the chosen items, in the order they stand in, at 0, 1, … and returns how many they are.
  /// `put` may write where items before were read from. What was put is there for all after the
  /// next barrier.
  template <class Thread, class Items, class Put>
  ASSAY_DEVICE static int64_t gather(Thread& t, Shared& s, Items item_at, int64_t count,
                                     Choice choice, Put put) {
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
    return written;
  }

  /// Appends the items load(0…count−1) whose key reaches `bar` to the list's first `held`, in
  /// order. Whenever less than kStep places are left, cut_back(held, bar) makes room and may raise
  /// the bar; it ends the pass by a negative `held`. What was appended is there for all after the
  /// next barrier.
  template <class Thread, class Load, class CutBack>
  ASSAY_DEVICE static void stream(Thread& t, Shared& s, const List& list, int64_t count, Load load,
                                  int64_t& held, uint32_t& bar, CutBack cut_back) {
    for (int64_t base = 0; base < count; base += kStep) {
      Item items[kUnroll];
      bool rises = false;
      for (int u = 0; u < kUnroll; ++u) {
        const int64_t i = base + u * kThreads + t.thread();
        items[u] = i < count ? load(i) : Item{0, 0};
        rises = rises || items[u].key >= bar;
      }
      if (!t.sync_or(rises)) continue;
      for (int u = 0; u < kUnroll; ++u) {
        int taken = 0;
        const int where = rank(t, s, items[u].key >= bar, taken);
        if (items[u].key >= bar) list.put(held + where, items[u]);
        held += taken;
      }
      if (held > list.capacity - kStep) cut_back(held, bar);
      if (held < 0) return;
    }
  }
};

}  // namespace assay
