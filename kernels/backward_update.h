// backward_update: weight gradients, projection, Adam, renormalisation and the refreshed bf16 copy, fused per latent
// row. There is no n×d gradient buffer: a latent's gradient lives in one worker's cache for as long as its row needs
// it.
#pragma once

#include <vector>

#include "kernels/context.h"
#include "kernels/primitives.h"
#include "kernels/screen_copy.h"
#include "kernels/sparse_codes.h"
#include "kernels/view.h"

namespace assay {

/// What the gradients come from: B' rows, which may be several losses' rows one after another (AuxK's after the main).
struct BackwardInput {
  const SparseCodes* codes;            ///< B' rows over n latents
  const std::vector<float>* d_values;  ///< ∂L/∂value of each pair
  ConstMatrix g;                       ///< [B', d] ∂L/∂x̂ of each row
  ConstMatrix x;                       ///< [B', d] centred encoder input of each row
};

/// Parameters and Adam moments, all fp32, updated in place.
struct LatentState {
  Matrix w_enc, w_enc_m, w_enc_v;    ///< [n, d]
  Matrix w_dec, w_dec_m, w_dec_v;    ///< [n, d]
  float *b_enc, *b_enc_m, *b_enc_v;  ///< [n]
  ScreenCopy* screen;                ///< of w_enc; refreshed
};

struct UpdateOptions {
  AdamStep adam;
  bool unit_norm = true;  ///< remove the decoder gradient's part along its row, and renormalise the row after the step
};

/// The centre's gradient is summed over at most this many parts, each of whole blocks of kScreenBlock latents.
constexpr int64_t kCenterParts = 128;

/// dW_dec[j] = Σ value·g, dW_enc[j] = Σ d_value·x, db_enc[j] = Σ d_value over latent j's pairs in row order; then Adam.
/// Every latent takes its step, silent ones too (dense Adam semantics: their moments decay and move them).
/// center_gradient [d] receives Σ_j db_enc[j]·W_enc[j] with the weights before the step: −∂L/∂b_dec through x − b_dec.
/// Deterministic: sums run in a fixed order over a number of parts that depends on n alone; no atomics.
/// Workspace: 2·d floats a worker and at most 128·d for the centre's gradient.
void backward_update(Context& context, const BackwardInput& input, const LatentState& state,
                     const UpdateOptions& options, float* center_gradient);

}  // namespace assay
