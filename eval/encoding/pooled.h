// Feature matrices of chosen texts, from the encoding pass.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "eval/encoding/encode_cache.h"
#include "eval/learners/sparse.h"
#include "kernels/base/view.h"

namespace assay::eval {

/// A matrix that owns its rows.
struct Features {
  int64_t rows = 0, cols = 0;
  std::vector<float> values;  ///< [rows, cols]
  /// of each row; empty if the rows are not texts. Folds are made by it.
  std::vector<int64_t> documents = {};

  ConstMatrix view() const { return {values.data(), rows, cols}; }
};

/// Rows of a pooled dense matrix [T, d] (activations or reconstructions) for the given texts, in
/// their order.
Features gather_dense(const EncodeCache& cache, const std::vector<float>& pooled,
                      const std::vector<int64_t>& texts);

/// Latents with a positive pooled value on at least one of the texts, ascending.
std::vector<int32_t> active_latents(const EncodeCache& cache, const SparseCodes& pooled,
                                    const std::vector<int64_t>& texts);

/// How many latents have a positive pooled value, on average over the texts; 0 where there are
/// none.
double mean_active(const EncodeCache& cache, const SparseCodes& pooled,
                   const std::vector<int64_t>& texts);

/// Pooled values of the chosen latents (ascending): column j is latents[j].
SparseFeatures gather_sparse(const EncodeCache& cache, const SparseCodes& pooled,
                             const std::vector<int64_t>& texts,
                             const std::vector<int32_t>& latents);

/// The same as a dense [texts, latents] matrix.
Features gather_latents(const EncodeCache& cache, const SparseCodes& pooled,
                        const std::vector<int64_t>& texts, const std::vector<int32_t>& latents);

}  // namespace assay::eval
