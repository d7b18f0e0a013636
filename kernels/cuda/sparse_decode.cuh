// sparse_decode on a device: one block a row. The row's pairs pass through shared memory, 128 at a
// time; a thread keeps the sums of four columns in registers and adds the pairs in order, one fused
// multiply-add a term, as the CPU does: the same bits by construction. Neighbouring threads read
// neighbouring columns of a decoder row.
//
// Workspace: 1 KB of shared memory a block. Speed: not measured (no device yet).
#pragma once

#include <cmath>

#include "kernels/base/view.h"
#include "kernels/cuda/cuda_thread.cuh"

namespace assay {

/// One block a row.
struct SparseDecodeKernel {
  static constexpr const char* kName = "sparse_decode";
  static constexpr int kThreads = 128;
  static constexpr int kColumns = 4;  // a thread sums at a time, kThreads apart

  const int64_t* row_offsets;  ///< [B + 1]
  const int32_t* indices;
  const float* values;
  ConstMatrix w_dec;  ///< [n, d]
  const float* bias;  ///< [d] or null
  Matrix out;         ///< [B, d]

  struct Shared {
    int32_t indices[kThreads];
    float values[kThreads];
  };

  template <class Thread>
  ASSAY_DEVICE void operator()(Thread& t) const {
    Shared& s = *reinterpret_cast<Shared*>(t.shared());
    const int64_t row = t.block(), d = out.cols;
    const int64_t begin = row_offsets[row], end = row_offsets[row + 1];
    for (int64_t first = 0; first < d; first += kThreads * kColumns) {
      float sum[kColumns];
      for (int c = 0; c < kColumns; ++c) {
        const int64_t column = first + c * kThreads + t.thread();
        sum[c] = bias != nullptr && column < d ? bias[column] : 0.0f;
      }
      for (int64_t base = begin; base < end; base += kThreads) {
        t.sync();  // the pairs before have been read
        if (base + t.thread() < end) {
          s.indices[t.thread()] = indices[base + t.thread()];
          s.values[t.thread()] = values[base + t.thread()];
        }
        t.sync();
        add_pairs(s, static_cast<int>(end - base < kThreads ? end - base : kThreads),
                  first + t.thread(), sum);
      }
      for (int c = 0; c < kColumns; ++c) {
        const int64_t column = first + c * kThreads + t.thread();
        if (column < d) out.row(row)[column] = sum[c];
      }
    }
  }

 private:
  ASSAY_DEVICE void add_pairs(const Shared& s, int count, int64_t column, float* sum) const {
    for (int p = 0; p < count; ++p) {
      if (s.values[p] == 0) continue;
      const float* weights = w_dec.row(s.indices[p]);
      for (int c = 0; c < kColumns; ++c) {
        if (column + c * kThreads < out.cols)
          sum[c] = fmaf(s.values[p], weights[column + c * kThreads], sum[c]);
      }
    }
  }
};

}  // namespace assay
