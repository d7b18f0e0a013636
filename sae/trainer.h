// The trainer: data stream → a variant's steps → metrics, checkpoints, dictionary. A run killed at
// any instant resumes to bit-identical weights.
#pragma once

#include <csignal>
#include <filesystem>
#include <string>
#include <vector>

#include "kernels/base/context.h"
#include "sae/resume_check.h"
#include "sae/train_config.h"

namespace assay::sae {

struct RunConfig {
  DataConfig data;
  ModelConfig model;
  TrainConfig train;
  std::string resolved_yaml;  ///< written to RUN/config.yaml
};

enum class Outcome { finished, interrupted, already_finished };
/// "finished", "interrupted", "already finished".
const char* name_of(Outcome outcome);

struct TrainSummary {
  Outcome outcome = Outcome::finished;
  int64_t step = 0, tokens = 0, dead = 0;
  double train_fvu = 0, l0 = 0, seconds = 0;
  std::vector<std::string> warnings = {};  ///< of the last line of the log
};

/// Trains into `run`. A set `stop` flag (from a signal handler) checkpoints after the step in hand
/// and returns `interrupted`. Throws UsageError where the configuration does not fit the data, or
/// names what differs from the run being resumed; Error naming shard and row where an activation is
/// not finite.
TrainSummary train(Context& context, const RunConfig& config, const std::filesystem::path& run,
                   Resume resume, const volatile std::sig_atomic_t& stop);

/// One of several dictionaries that learn from the same batches.
struct SweepMember {
  std::filesystem::path run;
  RunConfig config;
};

struct SweepOutcome {
  TrainSummary summary;
  std::string failure;  ///< why it was left out; empty where it was not
};

/// Trains all members on one pass over the activations, batch by batch: each ends in the bits, and
/// in the run folder, that train() of its own configuration gives. A member that diverges is left
/// out from there on, named by a warning; the others go on. Resume::automatic: every member goes on
/// from its own newest checkpoint, those ahead waiting for the one furthest behind. All members
/// must have equal data sections (no rolling cache) and the same train.steps, batch and accumulate,
/// and order_seed ≥ 0: the caller's duty. Memory: that of all members' states together.
std::vector<SweepOutcome> train_sweep(Context& context, const std::vector<SweepMember>& members,
                                      Resume resume, const volatile std::sig_atomic_t& stop);

}  // namespace assay::sae
