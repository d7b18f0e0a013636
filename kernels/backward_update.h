// backward_update: weight gradients, projection, Adam, renormalisation and the refreshed bf16 copy,
// fused per latent row. There is no n×d gradient buffer: a latent's gradient lives in one worker's
// cache for as long as its row needs it.
#pragma once

#include <vector>

#include "kernels/base/context.h"
#include "kernels/base/view.h"
#include "kernels/narrow_moments.h"
#include "kernels/primitives.h"
#include "kernels/screen_copy.h"
#include "kernels/sparse_codes.h"

namespace assay {

/// What the gradients come from: B' rows, which may be several losses' rows one after another
/// (AuxK's after the main, or one group of latents after another: Matryoshka).
struct BackwardInput {
  const SparseCodes* codes;            ///< B' rows over n latents
  const std::vector<float>* d_values;  ///< ∂L/∂pre of each pair: weighs x in dW_enc
  ConstMatrix g;                       ///< [B', d_out] ∂L/∂x̂ of each row
  /// [B, d_in] encoder inputs, B divides B': row r reads x row r mod B
  ConstMatrix x;
  /// weighs g in dW_dec, each pair; null: the codes' values
  const std::vector<float>* dec_values = nullptr;
  /// ∂L/∂b_enc of each pair; null: d_values. A pair that neither of the two above weighs is left
  /// out, its d_bias with it
  const std::vector<float>* d_bias = nullptr;
  /// [n, blocks]: adds dec_shrink[j, b]·W_dec[j, block b] to dW_dec[j]; null: nothing.
  const float* dec_shrink = nullptr;
  /// Ends of the blocks of columns of W_dec, rising to d_out (a crosscoder's hooks); null: one
  /// block. CPU only.
  const std::vector<int64_t>* dec_blocks = nullptr;
};

/// Parameters and Adam moments, updated in place: fp32, but for the matrices' moments where they
/// are narrow.
struct LatentState {
  Matrix w_enc, w_enc_m, w_enc_v;    ///< [n, d_in]
  Matrix w_dec, w_dec_m, w_dec_v;    ///< [n, d_out]
  float *b_enc, *b_enc_m, *b_enc_v;  ///< [n]
  ScreenCopy* screen;                ///< of w_enc; refreshed
  /// Where not null: the moments of that matrix, instead of its _m and _v. CPU only.
  NarrowMoments *w_enc_narrow = nullptr, *w_dec_narrow = nullptr;
};

/// What a step leaves as it is, with its moments, or near it. CPU only.
struct Held {
  bool encoder = false;  ///< W_enc and b_enc
  bool decoder = false;  ///< W_dec
  /// Null, or unit rows [n, d_out]: a decoder row whose cosine with its own falls below `cosine`
  /// goes, after its step, to the nearest row of its length that has it.
  const float* axes = nullptr;
  float cosine = 0;

  bool any() const { return encoder || decoder || axes != nullptr; }
};

struct UpdateOptions {
  AdamStep adam;
  /// remove the decoder gradient's part along its row, and renormalise the row after the step
  bool unit_norm = true;
  /// multiplies every gradient (clipping by norm; see gradient_squares)
  float gradient_scale = 1;
  uint64_t rounding_key = 0;  ///< of narrow moments' rounding: another one every step
  Held held = {};
};

/// The centre's gradient is summed over at most this many parts, each of whole blocks of
/// kScreenBlock latents.
constexpr int64_t kCenterParts = 128;

/// dW_dec[j] = Σ dec_value·g + dec_shrink[j]·W_dec[j], dW_enc[j] = Σ d_value·x, db_enc[j] = Σ
/// d_bias, over latent j's pairs in row order; then Adam. Every latent takes its step, silent ones
/// too (dense Adam semantics: their moments decay and move them).
/// center_gradient, null or [d_in], receives gradient_scale·Σ_j (Σ d_value)·W_enc[j] with the
/// weights before the step: −∂L/∂b_dec through x − b_dec.
/// On a device a latent may have one pair a row at most, those left out aside: what would be two (a
/// latent that matching pursuit chose again) must have been added up. Deterministic: sums run in a
/// fixed order over a number of parts that depends on n alone; no atomics. Workspace: d_in + d_out
/// floats a worker, at most 128·d_in for the centre's gradient, and the sorted pairs. Throws
/// UsageError where shapes do not fit; on a device also where a latent has two pairs in a row, and
/// where there are more pairs (2³¹ − 1) or rows than its counters and shared memory hold.
void backward_update(Context& context, const BackwardInput& input, const LatentState& state,
                     const UpdateOptions& options, float* center_gradient);

/// Σ of the squares of dW_enc, dW_dec (projected where options.unit_norm) and db_enc, but for what
/// is held, before gradient_scale: the first of clipping's two passes. Changes nothing; `state` is
/// read. fp32 dots, summed in double in a fixed order.
double gradient_squares(Context& context, const BackwardInput& input, const LatentState& state,
                        const UpdateOptions& options);

}  // namespace assay
