// The vector primitives every CPU operation is written in: one table an instruction set, chosen at
// run time.
//
// All levels give the same bits. `dot` sums in one canonical order: lane l of 16 takes elements l,
// l+16, … by fused multiply-add, then lanes fold 16 → 8 → 4 → 2 → 1 (lane i += lane i + half). The
// others work element by element. `screen` is the exception (see Screen).
#pragma once

#include <cstdint>

#include "kernels/base/context.h"

namespace assay {

struct AdamStep {
  float lr;  ///< learning rate over the first bias correction: lr / (1 − β1^t)
  float beta1, beta2;
  float eps;
  float v_scale;  ///< 1 / (1 − β2^t), the second bias correction
};

/// latents a packed block of the screening copy holds
constexpr int64_t kScreenBlock = 16;
constexpr int64_t kScreenGroup = 2 * kScreenBlock;  ///< latents one screening call covers
constexpr int64_t kMostPanelRows = 32;              ///< of any level

/// The screening product in reduced precision, a panel of rows by a group of latents, compared as
/// it leaves the registers. Its rounding differs between levels, and its callers allow for it by a
/// proven bound.
struct Screen {
  int64_t rows;  ///< of a panel; the panel's layout is the level's own
  /// uint32 a panel takes.
  int64_t (*panel_size)(int64_t pairs);
  /// Places row r of a panel, given as bf16 pairs [pairs] (low half = even element). A fresh panel
  /// is all zero.
  void (*pack)(const uint32_t* row, int64_t pairs, int64_t r, uint32_t* panel);
  /// score[r, j] = scale[j]·Σ x[r]·w_j + bias[j]; bit j of hits[r] = score >= threshold[r] (never a
  /// NaN). w0, w1: blocks [pairs, 16]; scale, bias [32]; threshold, hits [rows]; scores [rows, 32]
  /// is whole where the row has a hit. Returns the rows that have one, as bits.
  uint32_t (*product)(const uint32_t* panel, const uint32_t* w0, const uint32_t* w1, int64_t pairs,
                      const float* scale, const float* bias, const float* threshold, float* scores,
                      uint32_t* hits);
};

struct Primitives {
  /// Σ a_i b_i in canonical order.
  float (*dot)(const float* a, const float* b, int64_t count);
  /// out[i] = dot(a, b[i]) for four rows at once, each in canonical order.
  void (*dot4)(const float* a, const float* const b[4], int64_t count, float out[4]);
  /// y += alpha·x, one fused multiply-add an element.
  void (*axpy)(float alpha, const float* x, float* y, int64_t count);
  /// `rows` axpys in order, y read and written once: the bits of axpy(alpha[0], x[0]),
  /// axpy(alpha[1], x[1]), …
  void (*axpys)(const float* alpha, const float* const* x, int64_t rows, float* y, int64_t count);
  /// y *= alpha.
  void (*scale)(float alpha, float* y, int64_t count);
  /// out = a − b.
  void (*subtract)(const float* a, const float* b, float* out, int64_t count);
  /// Adam (Kingma & Ba 2015, algorithm 1) on one row: m ← β1 m + (1−β1) g, v ← β2 v + (1−β2) g²,
  /// p ← p − lr·m / (sqrt(v·v_scale) + eps).
  void (*adam)(const AdamStep& step, const float* gradient, float* parameter, float* m, float* v,
               int64_t count);
  Screen screen;
  /// Appends the scores [32] at the set bits of hits to (indices, kept): index base + j, in order.
  /// Returns how many.
  int (*append)(const float* scores, uint32_t hits, int32_t base, int32_t* indices, float* kept);
  /// How many of values[0, count) are >= threshold.
  int64_t (*count_at_least)(const float* values, int64_t count, float threshold);
  /// The least and the largest of values[0, count), count >= 1, none NaN.
  void (*range)(const float* values, int64_t count, float* least, float* most);
};

const Primitives& primitives(Isa isa);

extern const Primitives kScalarPrimitives, kAvx2Primitives, kAvx512Primitives;
/// AVX-512's table with the screening product on matrix tiles.
const Primitives& amx_primitives();
/// Has this processor AMX with bf16, and does the kernel let this process use it? Asks for the
/// permission.
bool amx_usable();

}  // namespace assay
