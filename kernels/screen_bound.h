// By how much a screened score can be wrong: the arithmetic that the CPU's screening and a device's
// share (the formula is kernels/screening.h's).
#pragma once

#include <cstdint>

namespace assay {

/// What a computed norm is multiplied by to be an upper bound: the relative error of its dot is
/// below d·2⁻²⁴.
constexpr float norm_margin(int64_t d) { return 1.0f + static_cast<float>(d + 8) * 0x1p-24f; }

/// What is added to a computed norm: a square below 2⁻¹⁴⁹ is lost, and d of them hide a norm of
/// √d·2⁻⁷⁴.
constexpr float norm_floor(int64_t d) { return static_cast<float>(d) * 0x1p-74f; }

/// φ: how far a sum of d products can be off where numbers below 2⁻¹²⁶ are taken for zero.
constexpr float flushed_products(int64_t d) { return static_cast<float>(d) * 0x1p-124f; }

constexpr float magnitude(float value) { return value < 0 ? -value : value; }

/// What adding a latent's shift (its bias, scaled) to its score can round.
constexpr float shift_rounding(float shift) { return magnitude(shift) * 0x1p-21f; }

/// Upper bounds of ‖row‖ and of ‖bf16(row) − row‖.
struct RoundedRow {
  float norm, error;
};

/// A row's screened score of latent j is off by at most
/// scale[j]·(by_norm·‖w_j‖ + by_error·‖δw_j‖ + φ) + shift_rounding(shift[j]).
struct RowBound {
  float by_norm, by_error;
};

/// gamma: the relative rounding of the screened and the canonical sum.
constexpr RowBound row_bound(const RoundedRow& row, float gamma) {
  const float length = row.norm + row.error;
  return {row.error + gamma * length, length * (1 + gamma)};
}

/// The largest over latents, of shifts the magnitude.
struct Widest {
  float norm = 0, error = 0, shift = 0, scale = 0;
  constexpr void include(const Widest& other) {
    norm = other.norm > norm ? other.norm : norm;
    error = other.error > error ? other.error : error;
    shift = other.shift > shift ? other.shift : shift;
    scale = other.scale > scale ? other.scale : scale;
  }
};

constexpr float widest_error(const Widest& most, const RowBound& row, int64_t d) {
  return most.scale * (row.by_norm * most.norm + row.by_error * most.error + flushed_products(d)) +
         shift_rounding(most.shift);
}

/// Can neither a screened sum of the row nor its bound overflow? Else only canonical scores tell.
constexpr bool screenable(const Widest& most, const RoundedRow& row, const RowBound& bound,
                          int64_t d) {
  constexpr float kMost = 0x1p120f;
  const float largest =
      (most.scale > 1 ? most.scale : 1.0f) * (row.norm + row.error) * (most.norm + most.error);
  return largest < kMost && most.shift < kMost &&
         widest_error(most, bound, d) < kMost;  // false for a NaN
}

/// encode_threshold's shift: how far a score then lies above the lower edge of the band, rounded
/// up, since the sum cancels where bias and θ are close.
constexpr float threshold_shift(float bias, float theta, float band) {
  return bias - (theta - band / 2) +
         (shift_rounding(bias) + shift_rounding(theta) + shift_rounding(band));
}

}  // namespace assay
