// Asking for memory before it is needed, where the order of access is known to us and to no
// hardware prefetcher.
#pragma once

#include <algorithm>
#include <cstdint>

namespace assay {

/// Starts loading row [count]; beyond 4 KB the processor's own prefetcher has caught on.
inline void prefetch_row(const float* row, int64_t count) {
  constexpr int64_t kLine = 16, kMost = 1024;  // floats
  for (int64_t i = 0; i < std::min(count, kMost); i += kLine) __builtin_prefetch(row + i);
}

}  // namespace assay
