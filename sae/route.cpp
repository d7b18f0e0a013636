#include "sae/route.h"

#include <algorithm>
#include <cmath>

#include "kernels/encode_topk.h"
#include "kernels/primitives.h"
#include "kernels/screen_copy.h"
#include "sae/blocks.h"

namespace assay::sae {

Routes route(Context& context, ConstMatrix x, const Router& router, NumericFlag& flag) {
  const int64_t experts = router.w.rows;
  Routes routes;
  routes.probabilities.resize(x.rows * experts);
  routes.expert.resize(x.rows);
  const Primitives& p = primitives(context.isa());
  parallel_for(context, x.rows, [&](int64_t i) {
    float* row = routes.probabilities.data() + i * experts;
    for (int64_t e = 0; e < experts; ++e)
      row[e] = p.dot(x.row(i), router.w.row(e), x.cols) + router.bias[e];
    const float* best = std::max_element(row, row + experts);
    routes.expert[i] = static_cast<int32_t>(best - row);
    const double top = *best;
    double sum = 0;
    for (int64_t e = 0; e < experts; ++e) sum += std::exp(row[e] - top);
    for (int64_t e = 0; e < experts; ++e) row[e] = static_cast<float>(std::exp(row[e] - top) / sum);
    if (!std::isfinite(sum)) flag.raise(i);
  });
  return routes;
}

void encode_routed(Context& context, ConstMatrix x, ConstMatrix w, const float* bias,
                   const Routes& routes, int64_t k, SparseCodes& out, NumericFlag& flag) {
  const int64_t experts = static_cast<int64_t>(routes.probabilities.size()) / x.rows,
                each = w.rows / experts;
  out.row_offsets.resize(x.rows + 1);
  for (int64_t i = 0; i <= x.rows; ++i) out.row_offsets[i] = i * k;
  out.indices.resize(x.rows * k);
  out.values.resize(x.rows * k);
  for (int64_t e = 0; e < experts; ++e) {
    std::vector<int64_t> own;
    std::vector<float> gathered;
    for (int64_t i = 0; i < x.rows; ++i) {
      if (routes.expert[i] != e) continue;
      own.push_back(i);
      gathered.insert(gathered.end(), x.row(i), x.row(i) + x.cols);
    }
    if (own.empty()) continue;
    const ConstMatrix block = w.slice(e * each, each);
    ScreenCopy screen(each, w.cols);
    screen.refresh(context, block);
    SparseCodes codes;
    NumericFlag bad;
    encode_topk(context, {gathered.data(), static_cast<int64_t>(own.size()), x.cols},
                {block, bias + e * each, &screen}, k, codes, bad);
    if (bad.raised()) flag.raise(own[bad.row()]);
    for (size_t r = 0; r < own.size(); ++r) {
      const float probability = routes.probabilities[own[r] * experts + e];
      for (int64_t p = 0; p < k; ++p) {
        const int64_t from = static_cast<int64_t>(r) * k + p, to = own[r] * k + p;
        out.indices[to] = static_cast<int32_t>(codes.indices[from] + e * each);
        out.values[to] = probability * std::max(codes.values[from], 0.0f);
      }
    }
  }
}

}  // namespace assay::sae
