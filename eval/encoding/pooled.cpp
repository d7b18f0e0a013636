#include "eval/encoding/pooled.h"

#include <algorithm>

namespace assay::eval {

Features gather_dense(const EncodeCache& cache, const std::vector<float>& pooled,
                      const std::vector<int64_t>& texts) {
  Features out{static_cast<int64_t>(texts.size()), cache.d, {}};
  out.values.resize(static_cast<size_t>(out.rows * out.cols));
  for (int64_t i = 0; i < out.rows; ++i)
    std::copy_n(pooled.begin() + cache.slot(texts[i]) * cache.d, cache.d,
                out.values.begin() + i * cache.d);
  return out;
}

std::vector<int32_t> active_latents(const EncodeCache& cache, const SparseCodes& pooled,
                                    const std::vector<int64_t>& texts) {
  std::vector<int32_t> latents;
  for (const int64_t text : texts) {
    const int64_t slot = cache.slot(text);
    latents.insert(latents.end(), pooled.indices.begin() + pooled.row_offsets[slot],
                   pooled.indices.begin() + pooled.row_offsets[slot + 1]);
  }
  std::sort(latents.begin(), latents.end());
  latents.erase(std::unique(latents.begin(), latents.end()), latents.end());
  return latents;
}

Features gather_latents(const EncodeCache& cache, const SparseCodes& pooled,
                        const std::vector<int64_t>& texts, const std::vector<int32_t>& latents) {
  Features out{static_cast<int64_t>(texts.size()), static_cast<int64_t>(latents.size()), {}};
  out.values.assign(static_cast<size_t>(out.rows * out.cols), 0.0f);
  for (int64_t i = 0; i < out.rows; ++i) {
    const int64_t slot = cache.slot(texts[i]);
    auto column = latents.begin();
    for (int64_t p = pooled.row_offsets[slot]; p < pooled.row_offsets[slot + 1]; ++p) {
      column = std::lower_bound(column, latents.end(), pooled.indices[p]);
      if (column == latents.end()) break;
      if (*column == pooled.indices[p])
        out.values[i * out.cols + (column - latents.begin())] = pooled.values[p];
    }
  }
  return out;
}

}  // namespace assay::eval
