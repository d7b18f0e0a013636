// Kernels do not throw on NaN: they raise this flag, which the caller reads when it likes.
#pragma once

#include <atomic>
#include <cstdint>
#include <limits>

namespace assay {

/// Remembers the smallest row that was found not finite, so the answer does not depend on the order
/// of threads.
class NumericFlag {
 public:
  void raise(int64_t row) {
    int64_t seen = row_.load(std::memory_order_relaxed);
    while (row < seen && !row_.compare_exchange_weak(seen, row, std::memory_order_relaxed)) {
    }
  }
  bool raised() const { return row() != kNone; }
  /// The first bad row, or kNone.
  int64_t row() const { return row_.load(std::memory_order_relaxed); }
  void clear() { row_.store(kNone, std::memory_order_relaxed); }

  static constexpr int64_t kNone = std::numeric_limits<int64_t>::max();

 private:
  std::atomic<int64_t> row_{kNone};
};

}  // namespace assay
