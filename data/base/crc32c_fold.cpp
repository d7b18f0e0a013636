#include "data/base/crc32c_fold.h"

#include <immintrin.h>

#define ASSAY_FOLD_TARGET \
  __attribute__((target("avx512f,avx512dq,avx512vl,vpclmulqdq,pclmul,sse4.2")))

namespace assay::data {
namespace {

/// x^n modulo the polynomial as a reflected 64-bit word: the coefficient of x^j is bit 63 - j.
constexpr uint64_t power(int n) {
  uint32_t value = 0x80000000u;  // reflected: the coefficient of x^j is bit 31 - j
  for (int i = 0; i < n; ++i) value = (value >> 1) ^ ((value & 1u) ? 0x82f63b78u : 0u);
  return static_cast<uint64_t>(value) << 32;
}

// The product of two reflected words is the reflected product times x, hence the -1. A lane's low
// word holds the higher powers: it stands 64 bits further from the end.
template <int bits>
struct Distance {
  static constexpr auto low = static_cast<long long>(power(bits + 64 - 1));
  static constexpr auto high = static_cast<long long>(power(bits - 1));
};

template <int bits>
ASSAY_FOLD_TARGET __m512i fold(__m512i lanes, __m512i next) {
  using D = Distance<bits>;
  const __m512i by =
      _mm512_set_epi64(D::high, D::low, D::high, D::low, D::high, D::low, D::high, D::low);
  return _mm512_ternarylogic_epi64(_mm512_clmulepi64_epi128(lanes, by, 0x00),
                                   _mm512_clmulepi64_epi128(lanes, by, 0x11), next, 0x96);
}

template <int bits>
ASSAY_FOLD_TARGET __m128i fold(__m128i lane, __m128i next) {
  const __m128i by = _mm_set_epi64x(Distance<bits>::high, Distance<bits>::low);
  return _mm_xor_si128(
      _mm_xor_si128(_mm_clmulepi64_si128(lane, by, 0x00), _mm_clmulepi64_si128(lane, by, 0x11)),
      next);
}

}  // namespace

bool has_crc32c_fold() {
  static const bool has = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
                          __builtin_cpu_supports("avx512vl") &&
                          __builtin_cpu_supports("vpclmulqdq");
  return has;
}

ASSAY_FOLD_TARGET uint32_t crc32c_fold(uint32_t state, const unsigned char* p, size_t bytes) {
  const auto at = [&](size_t offset) ASSAY_FOLD_TARGET { return _mm512_loadu_si512(p + offset); };
  __m512i a =
      _mm512_xor_si512(at(0), _mm512_zextsi128_si512(_mm_cvtsi32_si128(static_cast<int>(state))));
  __m512i b = at(64), c = at(128), d = at(192);
  for (p += 256, bytes -= 256; bytes >= 256; p += 256, bytes -= 256) {
    a = fold<2048>(a, at(0));
    b = fold<2048>(b, at(64));
    c = fold<2048>(c, at(128));
    d = fold<2048>(d, at(192));
  }
  d = fold<512>(fold<512>(fold<512>(a, b), c), d);
  __m128i lane = fold<128>(_mm512_extracti64x2_epi64(d, 0), _mm512_extracti64x2_epi64(d, 1));
  lane = fold<128>(lane, _mm512_extracti64x2_epi64(d, 2));
  lane = fold<128>(lane, _mm512_extracti64x2_epi64(d, 3));
  const uint64_t first = _mm_crc32_u64(0, static_cast<uint64_t>(_mm_cvtsi128_si64(lane)));
  return static_cast<uint32_t>(
      _mm_crc32_u64(first, static_cast<uint64_t>(_mm_extract_epi64(lane, 1))));
}

}  // namespace assay::data
