// topk on a device: one block a row, two ways by k; the same pairs as the CPU's, whatever the order
// of threads.
//
// Keys: an fp32's bits, mapped so that they compare as unsigned numbers (−0 as 0). The k-th largest
// key of a list is found by radix selection, one byte at a time from the top: a histogram of the
// byte among the keys that share the bytes above, and a scan of its 256 bins (Alabi et al. 2012,
// "Fast k-selection algorithms for graphics processing units"). What is above the k-th key, and the
// first of its equals that are still wanted, is then gathered by votes in index order, so ties go
// to the smaller index without a sort.
//   k ≤ 512: one pass over the row streams what rises above the k-th best so far into 2,048
//   candidates in shared memory, cut back to k by the selection above whenever they fill. The row
//   is read once. k > 512: the selection runs over the row itself: five reads of the row.
// A block that is asked for order by value ends with an in-place bitonic sort of its k pairs.
//
// Workspace: none but 18 KB of shared memory a block. Speed: not measured (no device yet).
#pragma once

#include "kernels/base/view.h"
#include "kernels/cuda/block_select.cuh"

namespace assay {

/// One block a row.
struct TopkKernel {
  static constexpr const char* kName = "topk";
  static constexpr int kThreads = BlockSelect::kThreads;
  static constexpr int64_t kStreamed = 512;  // the largest k that streams through them

  ConstMatrix z;       ///< [B, n]
  int64_t k;           ///< 1…n
  bool by_value;       ///< order of the result
  int32_t* indices;    ///< [B, k]
  float* values;       ///< [B, k]
  long long* bad_row;  ///< the smallest row with a NaN is kept here

  using Shared = BlockSelect::SharedList<2048>;  // candidates

  template <class Thread>
  ASSAY_DEVICE void operator()(Thread& t) const {
    Shared& s = *reinterpret_cast<Shared*>(t.shared());
    const int64_t row = t.block();
    const float* from = z.row(row);
    bool nan = false;
    const auto load = [&](int64_t i) {
      const float value = from[i];
      nan = nan || value != value;
      return BlockSelect::Item{BlockSelect::key_of(value), static_cast<int32_t>(i)};
    };
    const auto put = [&](int64_t where, BlockSelect::Item item) {
      indices[row * k + where] = item.place;
      values[row * k + where] = from[item.place];
    };
    if (k <= kStreamed) {
      const BlockSelect::List candidates = s.list();
      const int64_t held = stream(t, s.select, candidates, load);
      if (!t.sync_or(nan)) {
        const auto choice = BlockSelect::choose(t, s.select, candidates, held, k);
        BlockSelect::gather(t, s.select, candidates, held, choice, put);
      }
    } else {
      const auto choice = BlockSelect::choose(t, s.select, load, z.cols, k);
      if (!t.sync_or(nan)) BlockSelect::gather(t, s.select, load, z.cols, choice, put);
    }
    if (t.sync_or(nan)) {
      reject(t, row);
    } else if (by_value) {
      sort(t, indices + row * k, values + row * k);
    }
  }

 private:
  /// One pass over the row: what rises above the k-th best so far is appended to the candidates,
  /// which are cut back to the k best when they fill. An equal of the k-th best comes later than
  /// it, so it never wins. Returns how many stand, for all to read after the next barrier.
  template <class Thread, class Load>
  ASSAY_DEVICE int64_t stream(Thread& t, BlockSelect::Shared& s, const BlockSelect::List& list,
                              Load load) const {
    int64_t held = 0;
    uint32_t bar = 1;
    BlockSelect::stream(t, s, list, z.cols, load, held, bar, [&](int64_t& count, uint32_t& raised) {
      const auto choice = BlockSelect::choose(t, s, list, count, k);
      count = BlockSelect::gather(
          t, s, list, count, choice,
          [&](int64_t where, BlockSelect::Item item) { list.put(where, item); });
      raised = choice.key + 1;
    });
    return held;
  }

  template <class Thread>
  ASSAY_DEVICE void reject(Thread& t, int64_t row) const {
    if (t.thread() == 0) Thread::atomic_min(bad_row, row);
    for (int64_t c = t.thread(); c < k; c += kThreads) {
      indices[row * k + c] = static_cast<int32_t>(c);
      values[row * k + c] = 0;
    }
  }

  /// Batcher's bitonic sort in the form whose comparisons all point one way, so that places beyond
  /// k need not exist.
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
