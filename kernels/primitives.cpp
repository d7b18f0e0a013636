#include "kernels/primitives.h"

#include <algorithm>
#include <bit>
#include <cmath>

namespace assay {

namespace {

float dot(const float* a, const float* b, int64_t count) {
  float lanes[16] = {};
  for (int64_t i = 0; i < count; ++i) lanes[i % 16] = std::fma(a[i], b[i], lanes[i % 16]);
  for (int half = 8; half > 0; half /= 2) {
    for (int i = 0; i < half; ++i) lanes[i] += lanes[i + half];
  }
  return lanes[0];
}

void dot4(const float* a, const float* const b[4], int64_t count, float out[4]) {
  for (int i = 0; i < 4; ++i) out[i] = dot(a, b[i], count);
}

void axpy(float alpha, const float* x, float* y, int64_t count) {
  for (int64_t i = 0; i < count; ++i) y[i] = std::fma(alpha, x[i], y[i]);
}

void axpys(const float* alpha, const float* const* x, int64_t rows, float* y, int64_t count) {
  for (int64_t r = 0; r < rows; ++r) axpy(alpha[r], x[r], y, count);
}

void scale(float alpha, float* y, int64_t count) {
  for (int64_t i = 0; i < count; ++i) y[i] *= alpha;
}

void subtract(const float* a, const float* b, float* out, int64_t count) {
  for (int64_t i = 0; i < count; ++i) out[i] = a[i] - b[i];
}

void adam(const AdamStep& s, const float* g, float* p, float* m, float* v, int64_t count) {
  for (int64_t i = 0; i < count; ++i) {
    m[i] = std::fma(s.beta1, m[i], (1 - s.beta1) * g[i]);
    v[i] = std::fma(s.beta2, v[i], ((1 - s.beta2) * g[i]) * g[i]);
    p[i] -= s.lr * m[i] / (std::sqrt(v[i] * s.v_scale) + s.eps);
  }
}

constexpr int64_t kRows = 12;

int64_t panel_size(int64_t pairs) { return pairs * kRows; }

void pack(const uint32_t* row, int64_t pairs, int64_t r, uint32_t* panel) {
  for (int64_t p = 0; p < pairs; ++p) panel[p * kRows + r] = row[p];
}

float half(uint32_t pair, int which) {
  return std::bit_cast<float>(which == 0 ? pair << 16 : pair & 0xffff0000u);
}

uint32_t product(const uint32_t* panel, const uint32_t* w0, const uint32_t* w1, int64_t pairs,
                 const float* scale, const float* bias, const float* threshold, float* scores,
                 uint32_t* hits) {
  uint32_t hit_rows = 0;
  for (int64_t r = 0; r < kRows; ++r) {
    hits[r] = 0;
    for (int64_t j = 0; j < kScreenGroup; ++j) {
      const uint32_t* w = (j < kScreenBlock ? w0 : w1) + j % kScreenBlock;
      float sum = 0;
      for (int64_t p = 0; p < pairs; ++p) {
        const uint32_t a = panel[p * kRows + r], b = w[p * kScreenBlock];
        sum = std::fma(half(a, 1), half(b, 1), std::fma(half(a, 0), half(b, 0), sum));
      }
      const float score = std::fma(sum, scale[j], bias[j]);
      scores[r * kScreenGroup + j] = score;
      if (score >= threshold[r]) hits[r] |= 1u << j;
    }
    if (hits[r] != 0) hit_rows |= 1u << r;
  }
  return hit_rows;
}

int append(const float* scores, uint32_t hits, int32_t base, int32_t* indices, float* kept) {
  int count = 0;
  for (; hits != 0; hits &= hits - 1) {
    const int j = std::countr_zero(hits);
    indices[count] = base + j;
    kept[count++] = scores[j];
  }
  return count;
}

int64_t count_at_least(const float* values, int64_t count, float threshold) {
  int64_t reached = 0;
  for (int64_t i = 0; i < count; ++i) reached += values[i] >= threshold;
  return reached;
}

void range(const float* values, int64_t count, float* least, float* most) {
  *least = *most = values[0];
  for (int64_t i = 1; i < count; ++i) {
    *least = std::min(*least, values[i]);
    *most = std::max(*most, values[i]);
  }
}

}  // namespace

const Primitives kScalarPrimitives{dot,    dot4,           axpy, axpys,
                                   scale,  subtract,       adam, {kRows, panel_size, pack, product},
                                   append, count_at_least, range};

const Primitives& primitives(Isa isa) {
  switch (isa) {
    case Isa::amx:
      return amx_primitives();
    case Isa::avx512:
      return kAvx512Primitives;
    case Isa::avx2:
      return kAvx2Primitives;
    case Isa::scalar:
      break;
  }
  return kScalarPrimitives;
}

}  // namespace assay
