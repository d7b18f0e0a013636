#include "sae/pursuit.h"

#include <algorithm>
#include <utility>

#include "kernels/primitives.h"
#include "sae/blocks.h"

namespace assay::sae {

namespace {

SparseCodes merged(const Pursuit& pursuit, int64_t rows, int64_t k) {
  SparseCodes codes;
  std::vector<std::pair<int32_t, float>> row;
  for (int64_t i = 0; i < rows; ++i) {
    row.clear();
    for (int64_t t = 0; t < k; ++t) {
      const float value = pursuit.values[t * rows + i];
      if (value > 0) row.emplace_back(pursuit.latents[t * rows + i], value);
    }
    std::stable_sort(row.begin(), row.end(),
                     [](const auto& a, const auto& b) { return a.first < b.first; });
    const size_t first = codes.indices.size();
    for (const auto& [latent, value] : row) {
      if (codes.indices.size() > first && codes.indices.back() == latent) {
        codes.values.back() += value;
      } else {
        codes.indices.push_back(latent);
        codes.values.push_back(value);
      }
    }
    codes.row_offsets.push_back(static_cast<int64_t>(codes.indices.size()));
  }
  return codes;
}

}  // namespace

void pursue(Context& context, ConstMatrix x, const Encoder& encoder, ConstMatrix decoder, int64_t k,
            Pursuit& pursuit, SparseCodes& codes, NumericFlag& flag) {
  const int64_t rows = x.rows, d = x.cols;
  pursuit.latents.resize(k * rows);
  pursuit.values.resize(k * rows);
  pursuit.residual.resize(rows * d);
  for (int64_t i = 0; i < rows; ++i) std::copy_n(x.row(i), d, pursuit.residual.data() + i * d);
  const Matrix residual(pursuit.residual.data(), rows, d);
  const Primitives& p = primitives(context.isa());
  SparseCodes best;
  for (int64_t t = 0; t < k && !flag.raised(); ++t) {
    encode_topk(context, residual, encoder, 1, best, flag);
    parallel_for(context, rows, [&](int64_t i) {
      const int32_t latent = best.indices[i];
      const float value = std::max(best.values[i], 0.0f);
      pursuit.latents[t * rows + i] = latent;
      pursuit.values[t * rows + i] = value;
      p.axpy(-value, decoder.row(latent), residual.row(i), d);
    });
  }
  codes = merged(pursuit, rows, k);
}

}  // namespace assay::sae
