#include <algorithm>

#include "kernels/back_ends.h"
#include "kernels/primitives.h"

namespace assay {

void sparse_decode_cpu(Context& context, const SparseCodes& codes, ConstMatrix w_dec, const float* bias, Matrix out) {
  const Primitives& p = primitives(context.isa());
  constexpr int64_t kRows = 32;
  context.pool().run((out.rows + kRows - 1) / kRows, [&](int64_t task, int) {
    for (int64_t i = task * kRows; i < std::min(out.rows, (task + 1) * kRows); ++i) {
      float* row = out.row(i);
      if (bias != nullptr) {
        std::copy_n(bias, out.cols, row);
      } else {
        std::fill_n(row, out.cols, 0.0f);
      }
      for (int64_t pair = codes.row_offsets[i]; pair < codes.row_offsets[i + 1]; ++pair) {
        if (codes.values[pair] != 0) p.axpy(codes.values[pair], w_dec.row(codes.indices[pair]), row, out.cols);
      }
    }
  });
}

}  // namespace assay
