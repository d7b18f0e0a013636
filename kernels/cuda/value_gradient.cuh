// value_gradient on a device: one block a row, 16 lanes a pair. Lane l sums the elements l, l + 16,
// … by fused multiply-add, and four exchanges fold the lanes 16 → 8 → 4 → 2 → 1: the CPU's
// canonical order, so the same bits by construction.
//
// Workspace: none. Speed: not measured (no device yet).
#pragma once

#include <cmath>

#include "kernels/base/view.h"
#include "kernels/cuda/cuda_thread.cuh"

namespace assay {

/// One block a row; every half of a warp takes a pair.
struct ValueGradientKernel {
  static constexpr const char* kName = "value_gradient";
  static constexpr int kThreads = 128;

  const int64_t* row_offsets;  ///< [B + 1]
  const int32_t* indices;
  const float* values;
  ConstMatrix g;      ///< [B, d]
  ConstMatrix w_dec;  ///< [n, d]
  float* out;         ///< a pair each

  template <class Thread>
  ASSAY_DEVICE void operator()(Thread& t) const {
    const int64_t row = t.block(), end = row_offsets[row + 1];
    for (int64_t base = row_offsets[row]; base < end; base += kThreads / 16) {
      const int64_t pair = base + t.thread() / 16;
      const bool there = pair < end;
      const float* weights = there ? w_dec.row(indices[pair]) : nullptr;
      const float sum = canonical_dot(t, g.row(row), weights, there ? g.cols : 0);
      if (there && t.thread() % 16 == 0) out[pair] = values[pair] > 0 ? sum : 0.0f;
    }
  }
};

}  // namespace assay
