#include <algorithm>

#include "kernels/back_ends.h"
#include "kernels/pair_tiles.h"
#include "kernels/primitives.h"

namespace assay {

void value_gradient_cpu(Context& context, const SparseCodes& codes, ConstMatrix g,
                        ConstMatrix w_dec, std::vector<float>& out) {
  const Primitives& p = primitives(context.isa());
  out.resize(codes.pairs());
  const auto weights = [&](int64_t pair) { return w_dec.row(codes.indices[pair]); };
  for_pairs_of_tiles(
      context, codes, w_dec.rows, [](int64_t) {},
      [&](int64_t i, int64_t first, int64_t count) {
        const int64_t end = first + count;
        int64_t pair = first;
        for (; pair + 4 <= end; pair += 4) {
          const float* rows[4];
          for (int c = 0; c < 4; ++c) rows[c] = weights(pair + c);
          p.dot4(g.row(i), rows, g.cols, out.data() + pair);
        }
        for (; pair < end; ++pair) out[pair] = p.dot(g.row(i), weights(pair), g.cols);
        for (pair = first; pair < end; ++pair) {
          if (!(codes.values[pair] > 0)) out[pair] = 0;
        }
      });
}

}  // namespace assay
