#include <algorithm>

#include "kernels/back_ends.h"
#include "kernels/primitives.h"

namespace assay {

void value_gradient_cpu(Context& context, const SparseCodes& codes, ConstMatrix g, ConstMatrix w_dec,
                        std::vector<float>& out) {
  const Primitives& p = primitives(context.isa());
  out.resize(codes.pairs());
  constexpr int64_t kRows = 32;
  context.pool().run((codes.rows() + kRows - 1) / kRows, [&](int64_t task, int) {
    for (int64_t i = task * kRows; i < std::min(codes.rows(), (task + 1) * kRows); ++i) {
      const int64_t end = codes.row_offsets[i + 1];
      int64_t pair = codes.row_offsets[i];
      for (; pair + 4 <= end; pair += 4) {
        const float* rows[4];
        for (int c = 0; c < 4; ++c) rows[c] = w_dec.row(codes.indices[pair + c]);
        p.dot4(g.row(i), rows, g.cols, out.data() + pair);
      }
      for (; pair < end; ++pair) out[pair] = p.dot(g.row(i), w_dec.row(codes.indices[pair]), g.cols);
      for (pair = codes.row_offsets[i]; pair < end; ++pair) {
        if (!(codes.values[pair] > 0)) out[pair] = 0;
      }
    }
  });
}

}  // namespace assay
