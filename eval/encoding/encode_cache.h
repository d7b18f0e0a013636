// Activations encoded once, for all tasks and all dictionaries: one pass over the rows that any
// task asked for.
//
// Special tokens and sinks are left out everywhere, but for SinkStatistics. Activations
// are raw (unscaled), as dictionaries take them. All sums are in double and run in row order, so
// the bits depend neither on threads nor on chunk sizes.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "data/dataset.h"
#include "data/split.h"
#include "eval/encoding/statistics_sample.h"
#include "eval/encoding/text_table.h"
#include "kernels/base/context.h"
#include "kernels/sparse_codes.h"
#include "sae/dictionary.h"

namespace assay::eval {

/// What the tasks want from the pass.
struct EncodeRequest {
  /// PartStatistics on the documents that sample_statistics() takes
  std::optional<StatisticsRequest> statistics = {};
  /// indices into the text table whose pooled features are wanted; any order, repeats fine
  std::vector<int64_t> texts;
  bool other_poolings = false;  ///< also the texts' max and last

  void add_texts(const std::vector<int64_t>& more) {
    texts.insert(texts.end(), more.begin(), more.end());
  }
};

/// Sums over the ordinary tokens of one document.
struct DocumentSums {
  double error = 0;      ///< Σ‖x − x̂‖²
  double deviation = 0;  ///< Σ‖x − μ‖², μ = mean over the part's ordinary tokens
  double active = 0;     ///< latents with values > 0, summed over tokens
  double cosine = 0;     ///< Σ cos(x, x̂); 0 where either is the zero vector
  double ratio = 0;      ///< Σ ‖x̂‖/‖x‖; 0 where x is the zero vector
  double tokens = 0;
};

/// The same with the documents' sinks, which are not special; empty where the data set has none.
struct SinkStatistics {
  /// of each of the part's documents
  std::vector<double> error;      ///< Σ‖x − x̂‖²
  std::vector<double> deviation;  ///< Σ‖x − μ‖², μ = mean over these rows
  int64_t rows = 0;               ///< sinks among them
};

/// One dictionary on one part (validation, or a sample of train).
struct PartStatistics {
  std::vector<DocumentSums> documents;  ///< in ascending order of document id
  std::vector<int64_t> firing;          ///< [n], tokens on which the latent's value is > 0
  int64_t tokens = 0;
};

struct EncodedDictionary {
  PartStatistics validation, train;
  /// [T] over n: mean over a text's ordinary tokens; only values > 0, ascending
  SparseCodes pooled;
  SparseCodes pooled_max,
      /// other_poolings: each latent's largest value; the last ordinary token's values
      pooled_last;
  /// [T, d]: decode(pooled), which is the mean of x̂ since decoding is affine
  std::vector<float> reconstruction;
};

struct EncodeCache {
  int64_t d = 0;
  /// ascending indices into the text table; T entries, "slots"
  std::vector<int64_t> texts;
  std::vector<int64_t> documents;               ///< [T] of each text
  std::vector<float> dense;                     ///< [T, d]: mean of x over a text's ordinary tokens
  std::vector<float> dense_max, dense_last;     ///< [T, d] with other_poolings, else empty
  std::vector<EncodedDictionary> dictionaries;  ///< in the order given
  std::vector<SinkStatistics> validation_sinks, train_sinks;  ///< in the same order

  /// The slot of a text. Throws Error where nobody requested it.
  int64_t slot(int64_t text) const;
};

/// The pass. `texts` may be null where the request names no texts. Throws UsageError where a
/// dictionary's d is not the data set's (naming both), Error where statistics are wanted and the
/// validation split is empty, or where a requested text has no ordinary tokens.
EncodeCache encode_once(Context& context, const data::Dataset& dataset, const TextTable* texts,
                        std::span<const sae::Dictionary* const> dictionaries,
                        const EncodeRequest& request, const data::SplitRule& rule);

}  // namespace assay::eval
