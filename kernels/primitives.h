// The vector primitives every CPU operation is written in: one table an instruction set, chosen at run time.
//
// All levels give the same bits. `dot` sums in one canonical order: lane l of 16 takes elements l, l+16, … by fused
// multiply-add, then lanes fold 16 → 8 → 4 → 2 → 1 (lane i += lane i + half). The others work element by element.
// `screen` is the exception: its rounding differs between levels, and its callers allow for it by a proven bound.
#pragma once

#include <cstdint>

#include "kernels/context.h"

namespace assay {

struct AdamStep {
  float lr;  ///< learning rate over the first bias correction: lr / (1 − β1^t)
  float beta1, beta2;
  float eps;
  float v_scale;  ///< 1 / (1 − β2^t), the second bias correction
};

/// Latents a packed block of the screening copy holds, and rows a panel of x holds.
constexpr int64_t kScreenBlock = 16;
constexpr int64_t kPanel = 12;

struct Primitives {
  /// Σ a_i b_i in canonical order.
  float (*dot)(const float* a, const float* b, int64_t count);
  /// out[i] = dot(a, b[i]) for four rows at once, each in canonical order.
  void (*dot4)(const float* a, const float* const b[4], int64_t count, float out[4]);
  /// y += alpha·x, one fused multiply-add an element.
  void (*axpy)(float alpha, const float* x, float* y, int64_t count);
  /// y *= alpha.
  void (*scale)(float alpha, float* y, int64_t count);
  /// out = a − b.
  void (*subtract)(const float* a, const float* b, float* out, int64_t count);
  /// Adam (Kingma & Ba 2015, algorithm 1) on one row: m ← β1 m + (1−β1) g, v ← β2 v + (1−β2) g²,
  /// p ← p − lr·m / (sqrt(v·v_scale) + eps).
  void (*adam)(const AdamStep& step, const float* gradient, float* parameter, float* m, float* v, int64_t count);
  /// Screening product of one panel of 12 rows with one pair of packed blocks (32 latents), in reduced precision:
  /// out[r·32 + j] = Σ x[r]·w_j with x and w in bf16 pairs (low half = even element). x: [pairs, 12]; w0, w1: [pairs,
  /// 16].
  void (*screen)(const uint32_t* x, const uint32_t* w0, const uint32_t* w1, int64_t pairs, float* out);
  /// Positions j in [0, 32) with scores[j] + bias[j] >= threshold, appended to (index, score): index base + j, score
  /// with its bias. Returns how many were appended; both arrays have room for 32. NaN is never appended.
  int (*select)(const float* scores, const float* bias, float threshold, int32_t base, int32_t* indices, float* kept);
  /// How many of values[0, count) are >= threshold.
  int64_t (*count_at_least)(const float* values, int64_t count, float threshold);
  /// The least and the largest of values[0, count), count >= 1, none NaN.
  void (*range)(const float* values, int64_t count, float* least, float* most);
  /// Keep the pairs (indices, kept) with kept >= threshold, in order; returns how many are left.
  int64_t (*filter)(int32_t* indices, float* kept, int64_t count, float threshold);
};

const Primitives& primitives(Isa isa);

extern const Primitives kScalarPrimitives, kAvx2Primitives, kAvx512Primitives;

}  // namespace assay
