#include <algorithm>
#include <cmath>
#include <numeric>
#include <vector>

#include "kernels/back_ends.h"

namespace assay {

namespace {

void select_row(const float* z, int64_t n, int64_t k, TopkOrder order, std::vector<int32_t>& all,
                int32_t* indices, float* values) {
  const auto better = [z](int32_t a, int32_t b) { return z[a] > z[b] || (z[a] == z[b] && a < b); };
  all.resize(n);
  std::iota(all.begin(), all.end(), 0);
  std::nth_element(all.begin(), all.begin() + (k - 1), all.end(), better);
  if (order == TopkOrder::value) {
    std::sort(all.begin(), all.begin() + k, better);
  } else {
    std::sort(all.begin(), all.begin() + k);
  }
  for (int64_t c = 0; c < k; ++c) {
    indices[c] = all[c];
    values[c] = z[all[c]];
  }
}

}  // namespace

void topk_cpu(Context& context, ConstMatrix z, int64_t k, TopkOrder order, SparseCodes& out,
              NumericFlag& flag) {
  std::vector<std::vector<int32_t>> scratch(context.pool().threads());
  context.pool().run(z.rows, [&](int64_t row, int worker) {
    int32_t* indices = out.indices.data() + row * k;
    float* values = out.values.data() + row * k;
    if (std::any_of(z.row(row), z.row(row) + z.cols, [](float v) { return std::isnan(v); })) {
      flag.raise(row);
      std::iota(indices, indices + k, 0);
      std::fill_n(values, k, 0.0f);
      return;
    }
    select_row(z.row(row), z.cols, k, order, scratch[worker], indices, values);
  });
}

}  // namespace assay
