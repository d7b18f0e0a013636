// Loops on the pool, in tasks whose number depends on the count alone.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "kernels/base/context.h"
#include "kernels/base/view.h"
#include "kernels/primitives.h"

namespace assay::sae {

/// body(i) for i in [0, count): rows of a batch, or columns of a matrix.
template <class Body>
void parallel_for(Context& context, int64_t count, const Body& body) {
  constexpr int64_t kEach = 64;
  context.pool().run((count + kEach - 1) / kEach, [&](int64_t task, int) {
    for (int64_t i = task * kEach; i < std::min(count, (task + 1) * kEach); ++i) body(i);
  });
}

/// y [B, o] += x [B, d] · wᵀ, w [o, d], every element one canonical dot.
inline void add_product(Context& context, ConstMatrix x, ConstMatrix w, Matrix y) {
  const Primitives& p = primitives(context.isa());
  parallel_for(context, x.rows, [&](int64_t i) {
    for (int64_t o = 0; o < w.rows; ++o) y.row(i)[o] += p.dot(x.row(i), w.row(o), w.cols);
  });
}

/// out[c] = Σ over the rows of x [B, d], in an order that depends on B alone.
inline void column_sums(Context& context, ConstMatrix x, float* out) {
  constexpr int64_t kRows = 128;
  const Primitives& p = primitives(context.isa());
  const int64_t parts = (x.rows + kRows - 1) / kRows;
  std::vector<float> sums(parts * x.cols);
  context.pool().run(parts, [&](int64_t part, int) {
    for (int64_t i = part * kRows; i < std::min(x.rows, (part + 1) * kRows); ++i) {
      p.axpy(1, x.row(i), sums.data() + part * x.cols, x.cols);
    }
  });
  std::fill_n(out, x.cols, 0.0f);
  for (int64_t part = 0; part < parts; ++part) p.axpy(1, sums.data() + part * x.cols, out, x.cols);
}

}  // namespace assay::sae
