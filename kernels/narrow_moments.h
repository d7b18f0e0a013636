// Adam's moments of a matrix in two bytes or one byte an element instead of four. They are widened
// to fp32 in cache, stepped by the fp32 primitive, and rounded when they are put back: the step
// itself never sees its own rounding.
//
// bf16: the upper half of fp32.
// 8bit: block-wise dynamic quantisation (Dettmers, Lewis, Shleifer and Zettlemoyer 2022, "8-bit
//   optimizers via block-wise quantization"): a block is up to 256 consecutive elements of one row,
//   kept as its largest magnitude (fp32) and one code an element, a position in 256 values within
//   [−1, 1] (m) or [0, 1] (v). Decade 10^i, i = −6…0, holds the centres of 2^(6+i) equal parts of
//   [0.1, 1]·10^i and their negatives (m) or of twice as many (v); 0 and 1 make it 256.
//
// Rounding is stochastic: x between neighbours a < b becomes b with probability (x − a) / (b − a),
// so E[stored] = x (a negative m beyond the least of its 256 values, −0.993 of the block's largest,
// excepted). To the nearest it would stall: with β2 = 0.999 a step moves v by at most a thousandth
// of itself on its way down, and half the distance of two bf16 is two to four thousandths. In 8bit
// a v > 0 never becomes 0, which would let m / (sqrt(v) + eps) explode.
//
// Deterministic: an element's draw is a hash of (key of step and row, column), everything else
// works element by element, so the bits depend neither on threads nor on the instruction set.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "kernels/primitives.h"

namespace assay {

enum class MomentType { fp32, bf16, int8 };

constexpr int64_t kMomentBlock = 256;  ///< elements a block, of one row

/// "fp32", "bf16" or "8bit" → the type. Throws UsageError naming the three.
MomentType parse_moment_type(std::string_view name);

/// Bytes that both moments of a row of `cols` parameters take.
int64_t moment_bytes(MomentType type, int64_t cols);

/// What one moment is stored as; row-major.
struct NarrowMoment {
  std::vector<uint8_t> codes;  ///< [rows, cols] codes of one byte, or of two, little endian
  std::vector<float> scales;   ///< int8: [rows, blocks a row], else empty
};

class NarrowMoments {
 public:
  NarrowMoments() = default;
  /// All zero. `type` is bf16 or int8.
  NarrowMoments(MomentType type, int64_t rows, int64_t cols);

  MomentType type() const { return type_; }
  bool empty() const { return rows_ == 0; }
  int64_t blocks() const { return (cols_ + kMomentBlock - 1) / kMomentBlock; }  ///< a row

  /// One Adam step of parameter row `row` [cols] and of its moments. `key` should differ from row
  /// to row and from step to step. Rows may be stepped from several threads at once.
  void step(const Primitives& p, const AdamStep& adam, uint64_t key, int64_t row,
            const float* gradient, float* parameter);
  /// Row `row` as fp32 [cols].
  void widen(int64_t row, float* m, float* v) const;
  /// Moments of row `row` ← 0.
  void clear(int64_t row);
  /// Is every stored value finite?
  bool finite() const;

  NarrowMoment m, v;  ///< as stored, for checkpoints

 private:
  void widen(int64_t row, int64_t first, int64_t count, float* m_out, float* v_out) const;
  void narrow(int64_t row, int64_t first, int64_t count, const float* m_in, const float* v_in,
              const uint32_t* draws);

  MomentType type_ = MomentType::fp32;
  int64_t rows_ = 0, cols_ = 0;
};

}  // namespace assay
