#include "kernels/narrow_moments.h"

#include <fmt/core.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>

#include "kernels/base/dtype.h"
#include "kernels/base/error.h"
#include "kernels/base/mix64.h"

namespace assay {

namespace {

/// The 256 values of an 8-bit code, and the way from a number to the neighbours it lies between.
class DynamicCode {
 public:
  explicit DynamicCode(bool has_sign) {
    size_t count = 0;
    for (int i = 0; i < 7; ++i) {
      const int parts = has_sign ? 1 << i : 2 << i;
      for (int part = 0; part < parts; ++part) {
        const auto centre =
            static_cast<float>((0.1 + 0.9 * (part + 0.5) / parts) * std::pow(10.0, i - 6));
        values_[count++] = centre;
        if (has_sign) values_[count++] = -centre;
      }
    }
    values_[count++] = 0;
    values_[count++] = 1;
    std::sort(values_.begin(), values_.begin() + 256);
    values_[256] = std::numeric_limits<float>::infinity();
    for (size_t c = 0; c < 255; ++c) gaps_[c] = values_[c + 1] - values_[c];
    for (uint32_t upper = 0; upper < below_.size(); ++upper) {
      const bool negative = upper >= 0x8000;
      const auto least = std::bit_cast<float>(upper << 16 | (negative ? 0xffffu : 0u));
      const auto above =
          std::upper_bound(values_.begin(), values_.begin() + 256, least) - values_.begin();
      below_[upper] = static_cast<uint8_t>(std::clamp<int64_t>(above - 1, 0, 254));
    }
  }

  float value(uint8_t code) const { return values_[code]; }

  /// One of x's neighbours, by a draw from [0, 1).
  uint8_t round(float x, float draw) const {
    // No two values share the upper half of their bits, so the code below x is the half's own or
    // the next one.
    uint32_t code = below_[std::bit_cast<uint32_t>(x) >> 16];
    code += static_cast<uint32_t>(values_[code + 1] <= x);
    return static_cast<uint8_t>(code +
                                static_cast<uint32_t>(x - values_[code] > draw * gaps_[code]));
  }

 private:
  std::array<float, 257> values_{};
  std::array<float, 256> gaps_{};
  std::array<uint8_t, 65536>
      below_{};  // by the upper half of x: the last code at or below the least such x
};

const DynamicCode& signed_code() {
  static const DynamicCode code(true);
  return code;
}

const DynamicCode& unsigned_code() {
  static const DynamicCode code(false);
  return code;
}

/// 32 random bits for each column of a block, 16 for m and 16 for v. (Two rounds of a 32-bit mix
/// with half of the key each; the constants are lowbias32's, C. Wellons 2018.)
void draw(uint64_t key, int64_t first, int64_t count, uint32_t* out) {
  const auto low = static_cast<uint32_t>(key), high = static_cast<uint32_t>(key >> 32);
  for (int64_t i = 0; i < count; ++i) {
    uint32_t x = static_cast<uint32_t>(first + i) ^ low;
    x = (x ^ (x >> 16)) * 0x7feb352du + high;
    x = (x ^ (x >> 15)) * 0x846ca68bu;
    out[i] = x ^ (x >> 16);
  }
}

void widen_bf16(const uint8_t* codes, int64_t count, float* out) {
  uint16_t halves[kMomentBlock];
  std::memcpy(halves, codes, 2 * count);
  for (int64_t i = 0; i < count; ++i) out[i] = to_float(bf16{halves[i]});
}

/// x + a random amount below one unit of the last place kept, cut off. What is not finite stays so.
void narrow_bf16(const float* x, const uint32_t* draws, int shift, int64_t count, uint8_t* codes) {
  uint16_t halves[kMomentBlock];
  for (int64_t i = 0; i < count; ++i) {
    const uint32_t bits = std::bit_cast<uint32_t>(x[i]);
    const uint32_t finite = (bits & 0x7f800000u) != 0x7f800000u ? 0xffffu : 0u;
    const uint32_t quiet = (bits & 0x7fffffffu) > 0x7f800000u ? 0x40u : 0u;
    halves[i] = static_cast<uint16_t>(((bits + ((draws[i] >> shift) & finite)) >> 16) | quiet);
  }
  std::memcpy(codes, halves, 2 * count);
}

void widen_8bit(const DynamicCode& code, const uint8_t* codes, float scale, int64_t count,
                float* out) {
  for (int64_t i = 0; i < count; ++i) out[i] = code.value(codes[i]) * scale;
}

/// Returns the block's scale.
float narrow_8bit(const DynamicCode& code, const float* x, const uint32_t* draws, int shift,
                  int64_t count, uint8_t* codes) {
  uint32_t most_bits =
      0;  // magnitudes order as their bits do, and integers' maximum is a vector instruction
  for (int64_t i = 0; i < count; ++i)
    most_bits = std::max(most_bits, std::bit_cast<uint32_t>(x[i]) & 0x7fffffffu);
  const auto most = std::bit_cast<float>(most_bits);
  const float divisor = most > 0 ? most : 1;
  float share[kMomentBlock], uniform[kMomentBlock];
  for (int64_t i = 0; i < count; ++i) {
    share[i] = x[i] / divisor;
    uniform[i] = static_cast<float>(static_cast<int32_t>((draws[i] >> shift) & 0xffffu)) * 0x1p-16f;
  }
  for (int64_t i = 0; i < count; ++i) codes[i] = code.round(share[i], uniform[i]);
  return most;
}

}  // namespace

MomentType parse_moment_type(std::string_view name) {
  if (name == "fp32") return MomentType::fp32;
  if (name == "bf16") return MomentType::bf16;
  if (name == "8bit") return MomentType::int8;
  throw UsageError(fmt::format("optimizer state '{}': the types are fp32, bf16 and 8bit", name));
}

int64_t moment_bytes(MomentType type, int64_t cols) {
  if (type == MomentType::fp32) return 8 * cols;
  if (type == MomentType::bf16) return 4 * cols;
  return 2 * cols + 8 * ((cols + kMomentBlock - 1) / kMomentBlock);
}

NarrowMoments::NarrowMoments(MomentType type, int64_t rows, int64_t cols)
    : type_(type), rows_(rows), cols_(cols) {
  for (NarrowMoment* moment : {&m, &v}) {
    moment->codes.resize(rows * cols * (type == MomentType::bf16 ? 2 : 1));
    if (type == MomentType::int8) moment->scales.resize(rows * blocks());
  }
}

void NarrowMoments::step(const Primitives& p, const AdamStep& adam, uint64_t key, int64_t row,
                         const float* gradient, float* parameter) {
  const uint64_t row_key = mix64(key);
  for (int64_t first = 0; first < cols_; first += kMomentBlock) {
    const int64_t count = std::min(kMomentBlock, cols_ - first);
    float wide_m[kMomentBlock], wide_v[kMomentBlock];
    uint32_t draws[kMomentBlock];
    draw(row_key, first, count, draws);
    widen(row, first, count, wide_m, wide_v);
    p.adam(adam, gradient + first, parameter + first, wide_m, wide_v, count);
    narrow(row, first, count, wide_m, wide_v, draws);
  }
}

void NarrowMoments::widen(int64_t row, float* m_out, float* v_out) const {
  for (int64_t first = 0; first < cols_; first += kMomentBlock) {
    widen(row, first, std::min(kMomentBlock, cols_ - first), m_out + first, v_out + first);
  }
}

void NarrowMoments::widen(int64_t row, int64_t first, int64_t count, float* m_out,
                          float* v_out) const {
  const int64_t at = row * cols_ + first;
  if (type_ == MomentType::bf16) {
    widen_bf16(m.codes.data() + 2 * at, count, m_out);
    widen_bf16(v.codes.data() + 2 * at, count, v_out);
    return;
  }
  const int64_t block = row * blocks() + first / kMomentBlock;
  widen_8bit(signed_code(), m.codes.data() + at, m.scales[block], count, m_out);
  widen_8bit(unsigned_code(), v.codes.data() + at, v.scales[block], count, v_out);
}

void NarrowMoments::narrow(int64_t row, int64_t first, int64_t count, const float* m_in,
                           const float* v_in, const uint32_t* draws) {
  const int64_t at = row * cols_ + first;
  if (type_ == MomentType::bf16) {
    narrow_bf16(m_in, draws, 0, count, m.codes.data() + 2 * at);
    narrow_bf16(v_in, draws, 16, count, v.codes.data() + 2 * at);
    return;
  }
  const int64_t block = row * blocks() + first / kMomentBlock;
  uint8_t* const codes_v = v.codes.data() + at;
  m.scales[block] = narrow_8bit(signed_code(), m_in, draws, 0, count, m.codes.data() + at);
  v.scales[block] = narrow_8bit(unsigned_code(), v_in, draws, 16, count, codes_v);
  for (int64_t i = 0; i < count; ++i)
    codes_v[i] += static_cast<uint8_t>((codes_v[i] == 0) & (v_in[i] > 0));
}

void NarrowMoments::clear(int64_t row) {
  for (NarrowMoment* moment : {&m, &v}) {
    const auto width = static_cast<int64_t>(moment->codes.size()) / rows_;
    std::fill_n(moment->codes.begin() + row * width, width, uint8_t{0});
    if (!moment->scales.empty())
      std::fill_n(moment->scales.begin() + row * blocks(), blocks(), 0.0f);
  }
}

bool NarrowMoments::finite() const {
  const auto all_finite = [](const std::vector<float>& values) {
    return std::all_of(values.begin(), values.end(),
                       [](float value) { return std::isfinite(value); });
  };
  if (type_ == MomentType::int8) return all_finite(m.scales) && all_finite(v.scales);
  std::vector<float> row_m(cols_), row_v(cols_);
  for (int64_t j = 0; j < rows_; ++j) {
    widen(j, row_m.data(), row_v.data());
    if (!all_finite(row_m) || !all_finite(row_v)) return false;
  }
  return true;
}

}  // namespace assay
