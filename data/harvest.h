// Runs a model's lower half over a corpus and writes a data set of activations.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>

#include "data/corpus.h"
#include "kernels/base/dtype.h"

namespace assay::data {

/// A model up to the residual stream after some layer.
class LowerHalf {
 public:
  virtual ~LowerHalf() = default;
  virtual int64_t d() const = 0;
  /// ids and mask [batch, length] (mask 1 = token, 0 = padding at the end; ids within the
  /// vocabulary) → out [batch, length, d] fp32; values at padding are unspecified. Called from
  /// several threads at once; each call works on the calling thread alone, so that its bits depend
  /// on its arguments only.
  virtual void run(const int64_t* ids, const int64_t* mask, int64_t batch, int64_t length,
                   float* out) = 0;
};

struct HarvestOptions {
  std::filesystem::path out;  ///< folder of the data set
  DType dtype = DType::f16;
  /// workers, each running batches of its own; 0 = the processors; never changes a bit
  int threads = 0;
  /// stop before the text that would pass this many tokens; 0 = the whole corpus
  int64_t max_tokens = 0;
  int64_t rows_per_shard = 1 << 18;
  /// > 0: a rolling cache of at most so many bytes (data/rolling.h), without texts.h5
  int64_t disk_limit = 0;
  // What the half was exported as.
  std::string model, revision, hook, tokenizer_hash;
  int64_t vocabulary = 0, max_length = 0;
  /// Called now and then on the calling thread: rows written, rows resumed from, rows in all.
  std::function<void(int64_t done, int64_t resumed, int64_t total)> progress;
};

struct HarvestResult {
  int64_t rows = 0, resumed = 0, texts = 0;
};

/// Row i of the data set is token i of the corpus, so texts keep their order and are runs of rows;
/// columns tokens, document, position (within the text), special, text, and the corpus's labels;
/// texts.h5 (/text_bytes uint8, /text_offsets int64) beside the shards. Called again after a kill,
/// it continues after the last whole shard; the data set is the same to the byte. Batches are cut
/// from blocks of up to 4096 consecutive texts sorted by length. Throws UsageError where the corpus
/// was made with another tokenizer or has texts longer than the half takes; Error where a token is
/// outside the vocabulary, a value is not finite, a file cannot be written.
HarvestResult harvest(const Corpus& corpus, LowerHalf& half, const HarvestOptions& options);

}  // namespace assay::data
