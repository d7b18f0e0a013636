// AVX-512 with BF16: 16 canonical lanes are one register; screening multiplies bf16 pairs
// (vdpbf16ps).
#include <immintrin.h>

#include "kernels/primitives.h"

namespace assay {

namespace {

/// Mask of the first `count` of 16 lanes.
__mmask16 head(int64_t count) { return static_cast<__mmask16>((1u << count) - 1u); }

float fold(__m512 sixteen) {
  const __m256 eight =
      _mm256_add_ps(_mm512_castps512_ps256(sixteen), _mm512_extractf32x8_ps(sixteen, 1));
  const __m128 four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
  const __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_add_ss(two, _mm_shuffle_ps(two, two, 1)));
}

float dot(const float* a, const float* b, int64_t count) {
  __m512 sum = _mm512_setzero_ps();
  int64_t i = 0;
  for (; i + 16 <= count; i += 16)
    sum = _mm512_fmadd_ps(_mm512_loadu_ps(a + i), _mm512_loadu_ps(b + i), sum);
  if (i < count) {
    const __mmask16 m = head(count - i);
    sum = _mm512_mask3_fmadd_ps(_mm512_maskz_loadu_ps(m, a + i), _mm512_maskz_loadu_ps(m, b + i),
                                sum, m);
  }
  return fold(sum);
}

void dot4(const float* a, const float* const b[4], int64_t count, float out[4]) {
  __m512 sum[4];
  for (auto& s : sum) s = _mm512_setzero_ps();
  int64_t i = 0;
  for (; i + 16 <= count; i += 16) {
    const __m512 ai = _mm512_loadu_ps(a + i);
    for (int r = 0; r < 4; ++r) sum[r] = _mm512_fmadd_ps(ai, _mm512_loadu_ps(b[r] + i), sum[r]);
  }
  const __mmask16 m = head(count - i);
  const __m512 ai = _mm512_maskz_loadu_ps(m, a + i);
  for (int r = 0; r < 4; ++r) {
    if (i < count)
      sum[r] = _mm512_mask3_fmadd_ps(ai, _mm512_maskz_loadu_ps(m, b[r] + i), sum[r], m);
    out[r] = fold(sum[r]);
  }
}

void axpy(float alpha, const float* x, float* y, int64_t count) {
  const __m512 factor = _mm512_set1_ps(alpha);
  int64_t i = 0;
  for (; i + 16 <= count; i += 16) {
    _mm512_storeu_ps(y + i,
                     _mm512_fmadd_ps(factor, _mm512_loadu_ps(x + i), _mm512_loadu_ps(y + i)));
  }
  if (i < count) {
    const __mmask16 m = head(count - i);
    const __m512 sum =
        _mm512_fmadd_ps(factor, _mm512_maskz_loadu_ps(m, x + i), _mm512_maskz_loadu_ps(m, y + i));
    _mm512_mask_storeu_ps(y + i, m, sum);
  }
}

/// Columns [at, at + 16·kRegisters) of y stay in registers while the rows pass.
template <int kRegisters>
void axpys_stretch(const float* alpha, const float* const* x, int64_t rows, int64_t at, float* y) {
  __m512 sum[kRegisters];
  for (int k = 0; k < kRegisters; ++k) sum[k] = _mm512_loadu_ps(y + at + 16 * k);
  for (int64_t r = 0; r < rows; ++r) {
    const __m512 factor = _mm512_set1_ps(alpha[r]);
    for (int k = 0; k < kRegisters; ++k) {
      sum[k] = _mm512_fmadd_ps(factor, _mm512_loadu_ps(x[r] + at + 16 * k), sum[k]);
    }
  }
  for (int k = 0; k < kRegisters; ++k) _mm512_storeu_ps(y + at + 16 * k, sum[k]);
}

void axpys(const float* alpha, const float* const* x, int64_t rows, float* y, int64_t count) {
  int64_t i = 0;
  for (; i + 128 <= count; i += 128) axpys_stretch<8>(alpha, x, rows, i, y);
  for (; i + 16 <= count; i += 16) axpys_stretch<1>(alpha, x, rows, i, y);
  if (i == count) return;
  const __mmask16 m = head(count - i);
  __m512 sum = _mm512_maskz_loadu_ps(m, y + i);
  for (int64_t r = 0; r < rows; ++r) {
    sum = _mm512_fmadd_ps(_mm512_set1_ps(alpha[r]), _mm512_maskz_loadu_ps(m, x[r] + i), sum);
  }
  _mm512_mask_storeu_ps(y + i, m, sum);
}

void scale(float alpha, float* y, int64_t count) {
  const __m512 factor = _mm512_set1_ps(alpha);
  int64_t i = 0;
  for (; i + 16 <= count; i += 16)
    _mm512_storeu_ps(y + i, _mm512_mul_ps(factor, _mm512_loadu_ps(y + i)));
  if (i < count) {
    const __mmask16 m = head(count - i);
    _mm512_mask_storeu_ps(y + i, m, _mm512_mul_ps(factor, _mm512_maskz_loadu_ps(m, y + i)));
  }
}

void subtract(const float* a, const float* b, float* out, int64_t count) {
  int64_t i = 0;
  for (; i + 16 <= count; i += 16) {
    _mm512_storeu_ps(out + i, _mm512_sub_ps(_mm512_loadu_ps(a + i), _mm512_loadu_ps(b + i)));
  }
  if (i < count) {
    const __mmask16 m = head(count - i);
    _mm512_mask_storeu_ps(
        out + i, m,
        _mm512_sub_ps(_mm512_maskz_loadu_ps(m, a + i), _mm512_maskz_loadu_ps(m, b + i)));
  }
}

void adam(const AdamStep& s, const float* g, float* p, float* m, float* v, int64_t count) {
  const __m512 b1 = _mm512_set1_ps(s.beta1), c1 = _mm512_set1_ps(1 - s.beta1),
               b2 = _mm512_set1_ps(s.beta2), c2 = _mm512_set1_ps(1 - s.beta2),
               lr = _mm512_set1_ps(s.lr), eps = _mm512_set1_ps(s.eps),
               v_scale = _mm512_set1_ps(s.v_scale);
  for (int64_t i = 0; i < count; i += 16) {
    const __mmask16 k = i + 16 <= count ? static_cast<__mmask16>(0xffff) : head(count - i);
    const __m512 gi = _mm512_maskz_loadu_ps(k, g + i);
    const __m512 mi = _mm512_fmadd_ps(b1, _mm512_maskz_loadu_ps(k, m + i), _mm512_mul_ps(c1, gi));
    const __m512 vi = _mm512_fmadd_ps(b2, _mm512_maskz_loadu_ps(k, v + i),
                                      _mm512_mul_ps(_mm512_mul_ps(c2, gi), gi));
    _mm512_mask_storeu_ps(m + i, k, mi);
    _mm512_mask_storeu_ps(v + i, k, vi);
    const __m512 denominator = _mm512_add_ps(_mm512_sqrt_ps(_mm512_mul_ps(vi, v_scale)), eps);
    const __m512 step = _mm512_div_ps(_mm512_mul_ps(lr, mi), denominator);
    _mm512_mask_storeu_ps(p + i, k, _mm512_sub_ps(_mm512_maskz_loadu_ps(k, p + i), step));
  }
}

__m512bh pairs_of(__m512i bits) { return reinterpret_cast<__m512bh>(bits); }

constexpr int64_t kRows = 12;

int64_t panel_size(int64_t pairs) { return pairs * kRows; }

void pack(const uint32_t* row, int64_t pairs, int64_t r, uint32_t* panel) {
  for (int64_t p = 0; p < pairs; ++p) panel[p * kRows + r] = row[p];
}

/// 24 accumulators stay in registers; a panel's rows lie side by side, so every operand is one base
/// and a constant.
uint32_t product(const uint32_t* panel, const uint32_t* w0, const uint32_t* w1, int64_t pairs,
                 const float* scale, const float* bias, const float* threshold, float* scores,
                 uint32_t* hits) {
  __m512 sum[kRows][2];
  for (auto& row : sum) row[0] = row[1] = _mm512_setzero_ps();
  for (int64_t p = 0; p < pairs; ++p, panel += kRows, w0 += kScreenBlock, w1 += kScreenBlock) {
    const __m512bh b0 = pairs_of(_mm512_loadu_si512(w0)), b1 = pairs_of(_mm512_loadu_si512(w1));
#pragma GCC unroll 12
    for (int r = 0; r < kRows; ++r) {
      const __m512bh a = pairs_of(_mm512_set1_epi32(static_cast<int>(panel[r])));
      sum[r][0] = _mm512_dpbf16_ps(sum[r][0], a, b0);
      sum[r][1] = _mm512_dpbf16_ps(sum[r][1], a, b1);
    }
  }
  const __m512 scale0 = _mm512_loadu_ps(scale), scale1 = _mm512_loadu_ps(scale + kScreenBlock);
  const __m512 bias0 = _mm512_loadu_ps(bias), bias1 = _mm512_loadu_ps(bias + kScreenBlock);
  uint32_t hit_rows = 0;
#pragma GCC unroll 12
  for (int r = 0; r < kRows; ++r) {
    const __m512 bar = _mm512_set1_ps(threshold[r]);
    const __m512 first = _mm512_fmadd_ps(sum[r][0], scale0, bias0),
                 second = _mm512_fmadd_ps(sum[r][1], scale1, bias1);
    _mm512_storeu_ps(scores + r * kScreenGroup, first);
    _mm512_storeu_ps(scores + r * kScreenGroup + kScreenBlock, second);
    hits[r] = static_cast<uint32_t>(_mm512_cmp_ps_mask(first, bar, _CMP_GE_OQ)) |
              static_cast<uint32_t>(_mm512_cmp_ps_mask(second, bar, _CMP_GE_OQ)) << 16;
    hit_rows |= static_cast<uint32_t>(hits[r] != 0) << r;
  }
  return hit_rows;
}

int append(const float* scores, uint32_t hits, int32_t base, int32_t* indices, float* kept) {
  const __m512i lanes = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
  int count = 0;
  for (int j = 0; j < 32; j += 16) {
    const auto mask = static_cast<__mmask16>(hits >> j);
    if (mask == 0) continue;
    // Compressed in registers: a compressing store is microcoded on some processors.
    const __m512i index = _mm512_add_epi32(_mm512_set1_epi32(base + j), lanes);
    const auto found = static_cast<unsigned>(__builtin_popcount(mask));
    const __mmask16 front = head(found);
    _mm512_mask_storeu_epi32(indices + count, front, _mm512_maskz_compress_epi32(mask, index));
    _mm512_mask_storeu_ps(kept + count, front,
                          _mm512_maskz_compress_ps(mask, _mm512_loadu_ps(scores + j)));
    count += static_cast<int>(found);
  }
  return count;
}

int64_t count_at_least(const float* values, int64_t count, float threshold) {
  const __m512 bar = _mm512_set1_ps(threshold);
  int64_t reached = 0;
  for (int64_t i = 0; i < count; i += 16) {
    const __mmask16 k = i + 16 <= count ? static_cast<__mmask16>(0xffff) : head(count - i);
    reached += __builtin_popcount(
        _mm512_mask_cmp_ps_mask(k, _mm512_maskz_loadu_ps(k, values + i), bar, _CMP_GE_OQ));
  }
  return reached;
}

void range(const float* values, int64_t count, float* least, float* most) {
  __m512 low = _mm512_set1_ps(values[0]), high = low;
  for (int64_t i = 0; i < count; i += 16) {
    const __mmask16 k = i + 16 <= count ? static_cast<__mmask16>(0xffff) : head(count - i);
    const __m512 v = _mm512_maskz_loadu_ps(k, values + i);
    low = _mm512_mask_min_ps(low, k, low, v);
    high = _mm512_mask_max_ps(high, k, high, v);
  }
  *least = _mm512_reduce_min_ps(low);
  *most = _mm512_reduce_max_ps(high);
}

}  // namespace

const Primitives kAvx512Primitives{dot,    dot4,           axpy, axpys,
                                   scale,  subtract,       adam, {kRows, panel_size, pack, product},
                                   append, count_at_least, range};

}  // namespace assay
