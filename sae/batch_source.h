// Where the batches of training come from: one shuffled stream over the activations, checked for
// values that are not finite. Any number of dictionaries may learn from the same source.
#pragma once

#include <csignal>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "data/sources.h"
#include "data/stream.h"
#include "kernels/base/error.h"
#include "kernels/base/view.h"
#include "sae/hooks.h"
#include "sae/train_config.h"
#include "sae/units.h"
#include "sae/variant.h"

namespace assay::sae {

/// An activation is not finite; says its shard and row.
class BadRow : public Error {
 public:
  using Error::Error;
};

/// activations that initialising, resampling and calibrating look at
constexpr int64_t kSampleTokens = 1 << 15;

class BatchSource {
 public:
  /// `stop` ends a wait for a rolling cache. Names on the log what skip_corrupt left out.
  BatchSource(const DataConfig& data, const TrainConfig& train,
              const volatile std::sig_atomic_t& stop);

  const data::Sources& sources() const { return sources_; }
  /// What is encoded: data.hook and data.more_hooks, side by side in a batch's x.
  const std::vector<data::HookInfo>& inputs() const { return inputs_; }
  /// What is reconstructed: data.target_hook, or the inputs.
  const std::vector<data::HookInfo>& targets() const { return target_.empty() ? inputs_ : target_; }
  bool transcodes() const { return !target_.empty(); }
  /// Of the inputs' and of the targets' columns.
  const Units& input_units() const { return input_units_; }
  const Units& target_units() const { return transcodes() ? target_units_ : input_units_; }
  /// What a checkpoint keeps of the training units (Checkpoint::inputs).
  const std::map<std::string, std::string>& training_units() const { return training_units_; }
  data::ActivationStream& stream() { return stream_; }
  const data::ActivationStream& stream() const { return stream_; }
  int64_t rows() const { return rows_; }  ///< of an optimiser step

  /// The rows of the next optimiser step in training units, x in `place` or else in a buffer of the
  /// source's own; valid until the next call. Throws BadRow, and
  /// data::Interrupted.
  Batch next(float* place = nullptr);
  /// The next kSampleTokens rows or a few more; the stream stays where it is. Valid until next() or
  /// seek().
  Batch peek();
  /// kSampleTokens rows x [·, d] of the validation split in training units, or raw. Throws as
  /// next() does.
  std::vector<float> validation(bool raw = false);
  void seek(const data::StreamPosition& position);
  /// How many documents are mixed, on the log.
  void tell_mixing() const;

 private:
  /// Rows of a batch, y only where it is another array than x.
  struct Rows {
    std::vector<float> x, y;
  };
  Batch batch_of(const float* x, const float* y, int64_t rows) const;
  /// Raw rows.
  void read(data::ActivationStream& stream, float* x, float* y, int64_t rows) const;
  void to_units(float* x, float* y, int64_t rows) const;

  data::Sources sources_;
  std::vector<data::HookInfo> inputs_, target_;
  Units input_units_, target_units_;
  std::map<std::string, std::string> training_units_;
  data::StreamOptions options_;
  data::ActivationStream stream_;
  int64_t rows_;
  Rows batch_, peeked_;
};

}  // namespace assay::sae
