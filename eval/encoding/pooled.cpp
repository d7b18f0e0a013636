#include "eval/encoding/pooled.h"

#include <algorithm>

namespace assay::eval {
namespace {

std::vector<int64_t> documents_of(const EncodeCache& cache, const std::vector<int64_t>& texts) {
  std::vector<int64_t> documents;
  for (const int64_t text : texts) documents.push_back(cache.documents[cache.slot(text)]);
  return documents;
}

}  // namespace

Features gather_dense(const EncodeCache& cache, const std::vector<float>& pooled,
                      const std::vector<int64_t>& texts) {
  Features out{static_cast<int64_t>(texts.size()), cache.d, {}, documents_of(cache, texts)};
  out.values.resize(static_cast<size_t>(out.rows * out.cols));
  for (int64_t i = 0; i < out.rows; ++i)
    std::copy_n(pooled.begin() + cache.slot(texts[i]) * cache.d, cache.d,
                out.values.begin() + i * cache.d);
  return out;
}

std::vector<int32_t> active_latents(const EncodeCache& cache, const SparseCodes& pooled,
                                    const std::vector<int64_t>& texts) {
  std::vector<uint8_t> active;
  for (const int64_t text : texts) {
    const int64_t slot = cache.slot(text);
    for (int64_t p = pooled.row_offsets[slot]; p < pooled.row_offsets[slot + 1]; ++p) {
      const auto latent = static_cast<size_t>(pooled.indices[p]);
      if (latent >= active.size()) active.resize(latent + 1);
      active[latent] = 1;
    }
  }
  std::vector<int32_t> latents;
  for (size_t j = 0; j < active.size(); ++j)
    if (active[j]) latents.push_back(static_cast<int32_t>(j));
  return latents;
}

double mean_active(const EncodeCache& cache, const SparseCodes& pooled,
                   const std::vector<int64_t>& texts) {
  int64_t active = 0;
  for (const int64_t text : texts) {
    const int64_t slot = cache.slot(text);
    active += pooled.row_offsets[slot + 1] - pooled.row_offsets[slot];
  }
  return static_cast<double>(active) / static_cast<double>(std::max<size_t>(1, texts.size()));
}

SparseFeatures gather_sparse(const EncodeCache& cache, const SparseCodes& pooled,
                             const std::vector<int64_t>& texts,
                             const std::vector<int32_t>& latents) {
  SparseFeatures out{std::ssize(latents), {}, documents_of(cache, texts)};
  std::vector<int32_t> column(latents.empty() ? 0 : static_cast<size_t>(latents.back()) + 1, -1);
  for (size_t j = 0; j < latents.size(); ++j) column[latents[j]] = static_cast<int32_t>(j);
  for (const int64_t text : texts) {
    const int64_t slot = cache.slot(text);
    for (int64_t p = pooled.row_offsets[slot]; p < pooled.row_offsets[slot + 1]; ++p) {
      const auto latent = static_cast<size_t>(pooled.indices[p]);
      if (latent >= column.size() || column[latent] < 0) continue;
      out.codes.indices.push_back(column[latent]);
      out.codes.values.push_back(pooled.values[p]);
    }
    out.codes.row_offsets.push_back(std::ssize(out.codes.indices));
  }
  return out;
}

Features gather_latents(const EncodeCache& cache, const SparseCodes& pooled,
                        const std::vector<int64_t>& texts, const std::vector<int32_t>& latents) {
  const SparseFeatures x = gather_sparse(cache, pooled, texts, latents);
  Features out{x.rows(), x.cols, {}, x.documents};
  out.values.assign(static_cast<size_t>(out.rows * out.cols), 0.0f);
  for (int64_t i = 0; i < out.rows; ++i)
    for (int64_t p = x.codes.row_offsets[i]; p < x.codes.row_offsets[i + 1]; ++p)
      out.values[i * out.cols + x.codes.indices[p]] = x.codes.values[p];
  return out;
}

}  // namespace assay::eval
