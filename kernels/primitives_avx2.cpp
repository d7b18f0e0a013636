// AVX2 + FMA: 16 canonical lanes are two registers.
#include <immintrin.h>

#include <algorithm>
#include <cmath>

#include "kernels/primitives.h"

namespace assay {

namespace {

float fold(__m256 low, __m256 high) {
  const __m256 eight = _mm256_add_ps(low, high);
  const __m128 four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
  const __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_add_ss(two, _mm_shuffle_ps(two, two, 1)));
}

/// Mask of the first `count` of 8 lanes.
__m256i head(int64_t count) {
  return _mm256_cmpgt_epi32(_mm256_set1_epi32(static_cast<int>(count)),
                            _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}

float dot(const float* a, const float* b, int64_t count) {
  __m256 low = _mm256_setzero_ps(), high = low;
  int64_t i = 0;
  for (; i + 16 <= count; i += 16) {
    low = _mm256_fmadd_ps(_mm256_loadu_ps(a + i), _mm256_loadu_ps(b + i), low);
    high = _mm256_fmadd_ps(_mm256_loadu_ps(a + i + 8), _mm256_loadu_ps(b + i + 8), high);
  }
  if (i < count) {
    const __m256i m0 = head(count - i), m1 = head(count - i - 8);
    low = _mm256_fmadd_ps(_mm256_maskload_ps(a + i, m0), _mm256_maskload_ps(b + i, m0), low);
    high =
        _mm256_fmadd_ps(_mm256_maskload_ps(a + i + 8, m1), _mm256_maskload_ps(b + i + 8, m1), high);
  }
  return fold(low, high);
}

void dot4(const float* a, const float* const b[4], int64_t count, float out[4]) {
  __m256 low[4], high[4];
  for (int r = 0; r < 4; ++r) low[r] = high[r] = _mm256_setzero_ps();
  int64_t i = 0;
  for (; i + 16 <= count; i += 16) {
    const __m256 a0 = _mm256_loadu_ps(a + i), a1 = _mm256_loadu_ps(a + i + 8);
    for (int r = 0; r < 4; ++r) {
      low[r] = _mm256_fmadd_ps(a0, _mm256_loadu_ps(b[r] + i), low[r]);
      high[r] = _mm256_fmadd_ps(a1, _mm256_loadu_ps(b[r] + i + 8), high[r]);
    }
  }
  const __m256i m0 = head(count - i), m1 = head(count - i - 8);
  const __m256 a0 = _mm256_maskload_ps(a + i, m0), a1 = _mm256_maskload_ps(a + i + 8, m1);
  for (int r = 0; r < 4; ++r) {
    if (i < count) {
      low[r] = _mm256_fmadd_ps(a0, _mm256_maskload_ps(b[r] + i, m0), low[r]);
      high[r] = _mm256_fmadd_ps(a1, _mm256_maskload_ps(b[r] + i + 8, m1), high[r]);
    }
    out[r] = fold(low[r], high[r]);
  }
}

void axpy(float alpha, const float* x, float* y, int64_t count) {
  const __m256 factor = _mm256_set1_ps(alpha);
  int64_t i = 0;
  for (; i + 8 <= count; i += 8) {
    _mm256_storeu_ps(y + i,
                     _mm256_fmadd_ps(factor, _mm256_loadu_ps(x + i), _mm256_loadu_ps(y + i)));
  }
  for (; i < count; ++i) y[i] = std::fma(alpha, x[i], y[i]);
}

/// Columns [at, at + 8·kRegisters) of y stay in registers while the rows pass.
template <int kRegisters>
void axpys_stretch(const float* alpha, const float* const* x, int64_t rows, int64_t at, float* y) {
  __m256 sum[kRegisters];
  for (int k = 0; k < kRegisters; ++k) sum[k] = _mm256_loadu_ps(y + at + 8 * k);
  for (int64_t r = 0; r < rows; ++r) {
    const __m256 factor = _mm256_set1_ps(alpha[r]);
    for (int k = 0; k < kRegisters; ++k) {
      sum[k] = _mm256_fmadd_ps(factor, _mm256_loadu_ps(x[r] + at + 8 * k), sum[k]);
    }
  }
  for (int k = 0; k < kRegisters; ++k) _mm256_storeu_ps(y + at + 8 * k, sum[k]);
}

void axpys(const float* alpha, const float* const* x, int64_t rows, float* y, int64_t count) {
  int64_t i = 0;
  for (; i + 64 <= count; i += 64) axpys_stretch<8>(alpha, x, rows, i, y);
  for (; i + 8 <= count; i += 8) axpys_stretch<1>(alpha, x, rows, i, y);
  for (; i < count; ++i) {
    for (int64_t r = 0; r < rows; ++r) y[i] = std::fma(alpha[r], x[r][i], y[i]);
  }
}

void scale(float alpha, float* y, int64_t count) {
  const __m256 factor = _mm256_set1_ps(alpha);
  int64_t i = 0;
  for (; i + 8 <= count; i += 8)
    _mm256_storeu_ps(y + i, _mm256_mul_ps(factor, _mm256_loadu_ps(y + i)));
  for (; i < count; ++i) y[i] *= alpha;
}

void subtract(const float* a, const float* b, float* out, int64_t count) {
  int64_t i = 0;
  for (; i + 8 <= count; i += 8) {
    _mm256_storeu_ps(out + i, _mm256_sub_ps(_mm256_loadu_ps(a + i), _mm256_loadu_ps(b + i)));
  }
  for (; i < count; ++i) out[i] = a[i] - b[i];
}

void adam(const AdamStep& s, const float* g, float* p, float* m, float* v, int64_t count) {
  const __m256 b1 = _mm256_set1_ps(s.beta1), c1 = _mm256_set1_ps(1 - s.beta1),
               b2 = _mm256_set1_ps(s.beta2), c2 = _mm256_set1_ps(1 - s.beta2),
               lr = _mm256_set1_ps(s.lr), eps = _mm256_set1_ps(s.eps),
               v_scale = _mm256_set1_ps(s.v_scale);
  int64_t i = 0;
  for (; i + 8 <= count; i += 8) {
    const __m256 gi = _mm256_loadu_ps(g + i);
    const __m256 mi = _mm256_fmadd_ps(b1, _mm256_loadu_ps(m + i), _mm256_mul_ps(c1, gi));
    const __m256 vi =
        _mm256_fmadd_ps(b2, _mm256_loadu_ps(v + i), _mm256_mul_ps(_mm256_mul_ps(c2, gi), gi));
    _mm256_storeu_ps(m + i, mi);
    _mm256_storeu_ps(v + i, vi);
    const __m256 denominator = _mm256_add_ps(_mm256_sqrt_ps(_mm256_mul_ps(vi, v_scale)), eps);
    const __m256 step = _mm256_div_ps(_mm256_mul_ps(lr, mi), denominator);
    _mm256_storeu_ps(p + i, _mm256_sub_ps(_mm256_loadu_ps(p + i), step));
  }
  if (i < count) kScalarPrimitives.adam(s, g + i, p + i, m + i, v + i, count - i);
}

__m256 low(__m256i pairs) { return _mm256_castsi256_ps(_mm256_slli_epi32(pairs, 16)); }
__m256 high(__m256i pairs) {
  return _mm256_castsi256_ps(
      _mm256_and_si256(pairs, _mm256_set1_epi32(static_cast<int>(0xffff0000u))));
}

/// A panel is groups of four rows, each [pairs, 4].
constexpr int64_t kRows = 12, kQuad = 4;

int64_t panel_size(int64_t pairs) { return pairs * kRows; }

void pack(const uint32_t* row, int64_t pairs, int64_t r, uint32_t* panel) {
  uint32_t* quad = panel + r / kQuad * pairs * kQuad + r % kQuad;
  for (int64_t p = 0; p < pairs; ++p) quad[p * kQuad] = row[p];
}

/// Four rows by one block of 16 latents.
void quad_product(const uint32_t* x, const uint32_t* w, int64_t pairs, const float* scale,
                  const float* bias, float* scores) {
  __m256 sum[kQuad][2];
  for (auto& row : sum) row[0] = row[1] = _mm256_setzero_ps();
  for (int64_t p = 0; p < pairs; ++p) {
    const __m256i w0 = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(w + p * kScreenBlock));
    const __m256i w1 =
        _mm256_loadu_si256(reinterpret_cast<const __m256i*>(w + p * kScreenBlock + 8));
    const __m256 l0 = low(w0), h0 = high(w0), l1 = low(w1), h1 = high(w1);
    for (int r = 0; r < kQuad; ++r) {
      const __m256i pair = _mm256_set1_epi32(static_cast<int>(x[p * kQuad + r]));
      const __m256 xl = low(pair), xh = high(pair);
      sum[r][0] = _mm256_fmadd_ps(xh, h0, _mm256_fmadd_ps(xl, l0, sum[r][0]));
      sum[r][1] = _mm256_fmadd_ps(xh, h1, _mm256_fmadd_ps(xl, l1, sum[r][1]));
    }
  }
  for (int r = 0; r < kQuad; ++r) {
    for (int half = 0; half < 2; ++half) {
      const __m256 score = _mm256_fmadd_ps(sum[r][half], _mm256_loadu_ps(scale + half * 8),
                                           _mm256_loadu_ps(bias + half * 8));
      _mm256_storeu_ps(scores + r * kScreenGroup + half * 8, score);
    }
  }
}

uint32_t product(const uint32_t* panel, const uint32_t* w0, const uint32_t* w1, int64_t pairs,
                 const float* scale, const float* bias, const float* threshold, float* scores,
                 uint32_t* hits) {
  for (int64_t r = 0; r < kRows; r += kQuad) {
    quad_product(panel + r * pairs, w0, pairs, scale, bias, scores + r * kScreenGroup);
    quad_product(panel + r * pairs, w1, pairs, scale + kScreenBlock, bias + kScreenBlock,
                 scores + r * kScreenGroup + kScreenBlock);
  }
  uint32_t hit_rows = 0;
  for (int64_t r = 0; r < kRows; ++r) {
    const __m256 bar = _mm256_set1_ps(threshold[r]);
    hits[r] = 0;
    for (int64_t j = 0; j < kScreenGroup; j += 8) {
      const __m256 reached =
          _mm256_cmp_ps(_mm256_loadu_ps(scores + r * kScreenGroup + j), bar, _CMP_GE_OQ);
      hits[r] |= static_cast<uint32_t>(_mm256_movemask_ps(reached)) << j;
    }
    if (hits[r] != 0) hit_rows |= 1u << r;
  }
  return hit_rows;
}

int append(const float* scores, uint32_t hits, int32_t base, int32_t* indices, float* kept) {
  return kScalarPrimitives.append(scores, hits, base, indices, kept);
}

int64_t count_at_least(const float* values, int64_t count, float threshold) {
  const __m256 bar = _mm256_set1_ps(threshold);
  int64_t reached = 0, i = 0;
  for (; i + 8 <= count; i += 8) {
    const int mask =
        _mm256_movemask_ps(_mm256_cmp_ps(_mm256_loadu_ps(values + i), bar, _CMP_GE_OQ));
    reached += __builtin_popcount(static_cast<unsigned>(mask));
  }
  for (; i < count; ++i) reached += values[i] >= threshold;
  return reached;
}

void range(const float* values, int64_t count, float* least, float* most) {
  __m256 low8 = _mm256_set1_ps(values[0]), high8 = low8;
  int64_t i = 0;
  for (; i + 8 <= count; i += 8) {
    low8 = _mm256_min_ps(low8, _mm256_loadu_ps(values + i));
    high8 = _mm256_max_ps(high8, _mm256_loadu_ps(values + i));
  }
  alignas(32) float lows[8], highs[8];
  _mm256_store_ps(lows, low8);
  _mm256_store_ps(highs, high8);
  *least = *std::min_element(lows, lows + 8);
  *most = *std::max_element(highs, highs + 8);
  for (; i < count; ++i) {
    *least = std::min(*least, values[i]);
    *most = std::max(*most, values[i]);
  }
}

}  // namespace

const Primitives kAvx2Primitives{dot,    dot4,           axpy, axpys,
                                 scale,  subtract,       adam, {kRows, panel_size, pack, product},
                                 append, count_at_least, range};

}  // namespace assay
