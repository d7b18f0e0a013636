#include "kernels/base/dtype.h"

#include <fmt/core.h>
#include <immintrin.h>

#include <cstring>

#include "kernels/base/error.h"

namespace assay {

std::string_view name_of(DType t) {
  switch (t) {
    case DType::f32:
      return "f32";
    case DType::f16:
      return "f16";
    case DType::bf16:
      return "bf16";
  }
  return "unknown";
}

DType parse_dtype(std::string_view name) {
  if (name == "f32" || name == "float32") return DType::f32;
  if (name == "f16" || name == "float16") return DType::f16;
  if (name == "bf16" || name == "bfloat16") return DType::bf16;
  throw UsageError(fmt::format("unknown dtype '{}': use f32, f16 or bf16", name));
}

namespace {

// Pointers into files may have any alignment, so every access goes through unaligned loads or
// memcpy.
void half_to_float(const unsigned char* from, float* to, int64_t count) {
  int64_t i = 0;
  for (; i + 8 <= count; i += 8) {
    const __m128i half = _mm_loadu_si128(reinterpret_cast<const __m128i*>(from + 2 * i));
    _mm256_storeu_ps(to + i, _mm256_cvtph_ps(half));
  }
  for (; i < count; ++i) {
    uint16_t bits = 0;
    std::memcpy(&bits, from + 2 * i, 2);
    to[i] = _mm_cvtss_f32(_mm_cvtph_ps(_mm_cvtsi32_si128(bits)));
  }
}

void float_to_half(const float* from, unsigned char* to, int64_t count) {
  constexpr int nearest_even = _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC;
  int64_t i = 0;
  for (; i + 8 <= count; i += 8) {
    _mm_storeu_si128(reinterpret_cast<__m128i*>(to + 2 * i),
                     _mm256_cvtps_ph(_mm256_loadu_ps(from + i), nearest_even));
  }
  for (; i < count; ++i) {
    const auto bits =
        static_cast<uint16_t>(_mm_cvtsi128_si32(_mm_cvtps_ph(_mm_set_ss(from[i]), nearest_even)));
    std::memcpy(to + 2 * i, &bits, 2);
  }
}

}  // namespace

void to_float(DType type, const void* from, float* to, int64_t count) {
  const auto* bytes = static_cast<const unsigned char*>(from);
  if (type == DType::f32) {
    if (count > 0) std::memcpy(to, from, static_cast<size_t>(count) * 4);
  } else if (type == DType::f16) {
    half_to_float(bytes, to, count);
  } else {
    for (int64_t i = 0; i < count; ++i) {
      bf16 value;
      std::memcpy(&value.bits, bytes + 2 * i, 2);
      to[i] = to_float(value);
    }
  }
}

void from_float(DType type, const float* from, void* to, int64_t count) {
  auto* bytes = static_cast<unsigned char*>(to);
  if (type == DType::f32) {
    if (count > 0) std::memcpy(to, from, static_cast<size_t>(count) * 4);
  } else if (type == DType::f16) {
    float_to_half(from, bytes, count);
  } else {
    for (int64_t i = 0; i < count; ++i) {
      const bf16 value = to_bf16(from[i]);
      std::memcpy(bytes + 2 * i, &value.bits, 2);
    }
  }
}

}  // namespace assay
