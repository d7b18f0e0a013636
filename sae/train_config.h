// The training half of the configuration: which data, which model, how to train.
#pragma once

#include <cstdint>
#include <string>

#include "data/config_fields.h"
#include "data/split.h"
#include "data/stream.h"

namespace assay::sae {

struct DataConfig {
  std::string path;
  std::string hook = "activations";
  double validation = 0.05, test = 0.05;
  int64_t split_seed = 0;
  int64_t lanes = 16, window_chunks = 4, readers = 1;
  bool include_special = false;

  data::SplitRule rule() const { return {validation, test, static_cast<uint64_t>(split_seed)}; }
};

struct ModelConfig {
  std::string variant = "topk";
  int64_t n = 6144, k = 32;
};

struct TrainConfig {
  int64_t steps = 4000, batch = 2048, seed = 0, threads = 0;
  double lr = 0;                           ///< 0 = the variant's default
  double beta1 = -1, beta2 = -1, eps = 0;  ///< -1, -1, 0 = the variant's default
  int64_t warmup_steps = 100;
  double decay_fraction = 0.2;
  double aux_coefficient = 1.0 / 32;
  int64_t aux_k = 0;              ///< 0 = d / 2
  int64_t dead_after_tokens = 0;  ///< 0 = min(10M, 10 % of the run)
  int64_t log_every = 20, checkpoint_every = 500, keep_checkpoints = 2;
};

void describe(config::Fields& fields, DataConfig& config);
void describe(config::Fields& fields, ModelConfig& config);
void describe(config::Fields& fields, TrainConfig& config);

/// Every 0 or −1 that stands for a default replaced by it, for activations of width d.
TrainConfig with_defaults(TrainConfig train, const ModelConfig& model, int64_t d);
/// Linear warm-up, constant, then linear decay to 0 over the last `decay_fraction` of the steps. Factor of the base
/// learning rate for optimiser step `step` (0-based), in (0, 1].
double schedule_factor(const TrainConfig& train, int64_t step);

}  // namespace assay::sae
