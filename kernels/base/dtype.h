// Storage types of activations and weights, and the conversions between them.
#pragma once

#include <bit>
#include <cstdint>
#include <string_view>

namespace assay {

enum class DType { f32, f16, bf16 };

/// Bytes of one element.
constexpr int64_t size_of(DType t) { return t == DType::f32 ? 4 : 2; }
/// "f32", "f16" or "bf16".
std::string_view name_of(DType t);
/// The inverse of name_of; also takes "float32", "float16", "bfloat16". Throws UsageError naming
/// the known types.
DType parse_dtype(std::string_view name);

/// Brain float: the upper half of an fp32. Our own type, so that no library's enters a kernel.
struct bf16 {
  uint16_t bits = 0;
};

/// Round to nearest, ties to even. NaN stays NaN (quiet), overflow goes to infinity.
constexpr bf16 to_bf16(float value) {
  uint32_t bits = std::bit_cast<uint32_t>(value);
  if ((bits & 0x7fffffffu) > 0x7f800000u) return {static_cast<uint16_t>((bits >> 16) | 0x40u)};
  bits += 0x7fffu + ((bits >> 16) & 1u);
  return {static_cast<uint16_t>(bits >> 16)};
}
constexpr float to_float(bf16 value) {
  return std::bit_cast<float>(static_cast<uint32_t>(value.bits) << 16);
}

/// Convert `count` elements of `type` at `from` to fp32 and back (IEEE half by F16C, round to
/// nearest even).
void to_float(DType type, const void* from, float* to, int64_t count);
void from_float(DType type, const float* from, void* to, int64_t count);

}  // namespace assay
