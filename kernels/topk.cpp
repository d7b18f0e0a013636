#include "kernels/topk.h"

#include <fmt/core.h>

#include <limits>

#include "kernels/back_ends.h"
#include "kernels/registry.h"

namespace assay {

namespace {

constexpr Operation<decltype(topk)> kTopk{"topk", {topk_cpu, ASSAY_CUDA_BACK_END(topk_cuda)}};

}  // namespace

void topk(Context& context, ConstMatrix z, int64_t k, TopkOrder order, SparseCodes& out,
          NumericFlag& flag) {
  const auto& back_end = kTopk.on(context.device());
  if (z.cols > std::numeric_limits<int32_t>::max()) {
    throw UsageError(
        fmt::format("topk: n = {} columns are more than an index holds (2147483647)", z.cols));
  }
  if (k < 1 || k > z.cols)
    throw UsageError(fmt::format("topk: k = {} is outside 1…n = {}", k, z.cols));
  out.row_offsets.resize(z.rows + 1);
  for (int64_t i = 0; i <= z.rows; ++i) out.row_offsets[i] = i * k;
  out.indices.resize(z.rows * k);
  out.values.resize(z.rows * k);
  back_end(context, z, k, order, out, flag);
}

}  // namespace assay
