// The trainer: data stream → a variant's steps → metrics, checkpoints, dictionary. A run killed at any instant resumes
// to bit-identical weights.
#pragma once

#include <csignal>
#include <filesystem>
#include <string>

#include "kernels/context.h"
#include "sae/train_config.h"

namespace assay::sae {

struct RunConfig {
  DataConfig data;
  ModelConfig model;
  TrainConfig train;
  std::string resolved_yaml;  ///< written to RUN/config.yaml
};

enum class Resume {
  never,      ///< the folder must not hold a run
  automatic,  ///< go on from the newest good checkpoint, or start
};

enum class Outcome { finished, interrupted, already_finished };

struct TrainSummary {
  Outcome outcome = Outcome::finished;
  int64_t step = 0, tokens = 0, dead = 0;
  double train_fvu = 0, l0 = 0, seconds = 0;
};

/// Trains into `run`. A set `stop` flag (from a signal handler) checkpoints after the step in hand and returns
/// `interrupted`. Throws UsageError where the configuration does not fit the data, or names what differs from the run
/// being resumed; Error naming shard and row where an activation is not finite.
TrainSummary train(Context& context, const RunConfig& config, const std::filesystem::path& run, Resume resume,
                   const volatile std::sig_atomic_t& stop);

}  // namespace assay::sae
