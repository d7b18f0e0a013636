// The training half of the configuration: which data, which model, how to train.
#pragma once

#include <cmath>
#include <cstdint>
#include <string>
#include <vector>

#include "data/base/config_fields.h"
#include "data/split.h"
#include "data/stream.h"

namespace assay::sae {

struct DataConfig {
  std::string path;
  std::vector<std::string> mixture;  ///< "WEIGHT PATH" each; instead of path
  std::string hook = "activations";
  std::string target_hook;              ///< transcoders: what is reconstructed
  std::vector<std::string> more_hooks;  ///< crosscoders: encoded and reconstructed beside hook
  double validation = 0.05, test = 0.05;
  int64_t split_seed = 0;
  int64_t order_seed = -1;  ///< of the stream; -1 = train.seed
  int64_t lanes = 16, window_chunks = 4, mix_documents = 256, readers = 1;
  bool include_special = false, skip_corrupt = false, rolling = false, include_sinks = false;
  int64_t rolling_wait = 600;  ///< seconds

  data::SinkRows sinks() const {
    return include_sinks ? data::SinkRows::keep : data::SinkRows::leave_out;
  }
  data::SplitRule rule() const { return {validation, test, static_cast<uint64_t>(split_seed)}; }
};

struct ModelConfig {
  std::string variant = "topk";
  int64_t n = 6144;
  double k = 32;                  ///< a mean of the BatchTopK family and JumpReLU, else whole
  std::vector<int64_t> prefixes;  ///< Matryoshka; empty: n/32, 3n/32, 7n/32, 15n/32, n
  /// BatchTopK family: where the published threshold comes from
  std::string threshold = "average";
  int64_t experts = 16;  ///< Switch
  double balance = 0.1;  ///< Switch: weight of the load-balancing loss
  /// weight of the sparsity penalty; 0 = the variant's default
  double sparsity = 0;
  double sparsity_warmup = -1;           ///< share of the run; -1 = the variant's default
  std::string sparsity_loss = "target";  ///< JumpReLU
  std::string frozen = "none";           ///< what stays at its random start: see sae/frozen.h

  /// Latents of a row that k makes room for.
  int64_t row_k() const { return static_cast<int64_t>(std::ceil(k)); }
};

struct TrainConfig {
  int64_t steps = 4000, batch = 2048, seed = 0, threads = 0;
  std::string device = "cpu";
  double lr = 0;                           ///< 0 = the variant's default
  double beta1 = -1, beta2 = -1, eps = 0;  ///< -1, -1, 0 = the variant's default
  std::string optimizer_state = "fp32";    ///< see NarrowMoments
  int64_t warmup_steps = 100;
  double decay_fraction = 0.2;
  std::string decay_shape = "linear";
  int64_t accumulate = 1;
  double divergence = 100;
  double clip_norm = 0;
  double ema = 0;
  int64_t resample_every = 0;
  double aux_coefficient = -1;    ///< -1 = the variant's default
  int64_t aux_k = 0;              ///< 0 = d / 2
  int64_t dead_after_tokens = 0;  ///< 0 = min(10M, 10 % of the run)
  int64_t log_every = 20;
  bool tensorboard = true;
  int64_t checkpoint_every = 0;
  double checkpoint_minutes = 15;
  int64_t keep_checkpoints = 2, keep_every = 0;

  /// Activations an optimiser step: `accumulate` batches laid one after another.
  int64_t step_rows() const { return batch * accumulate; }
};

void describe(config::Fields& fields, DataConfig& config);
void describe(config::Fields& fields, ModelConfig& config);
void describe(config::Fields& fields, TrainConfig& config);

/// Every 0 or −1 that stands for a default replaced by it, for activations of width d.
TrainConfig with_defaults(TrainConfig train, const ModelConfig& model, int64_t d);

}  // namespace assay::sae
