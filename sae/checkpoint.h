// Checkpoints: everything a run needs to go on to the same bits. Unsharded and versioned.
//
// checkpoints/step-0000000500/ holds state.safetensors (parameters, moments, silence counts) and trainer.json (step,
// running numbers, stream position, metrics state, the SHA-256 of state.safetensors and its own). Written beside,
// fsynced, renamed; a folder whose name has a suffix (.part, .gone) is the remains of a kill and is never read.
#pragma once

#include <filesystem>
#include <functional>
#include <optional>
#include <string>

#include "data/stream.h"
#include "sae/checkpoint_policy.h"
#include "sae/metrics_log.h"
#include "sae/state.h"

namespace assay::sae {

struct Checkpoint {
  std::string data_hash;          ///< content_hash of the data set
  data::StreamPosition position;  ///< of the next batch
  MetricsState metrics;
  int64_t event_bytes = 0;  ///< length of the TensorBoard file
  double first_loss = 0;    ///< of the run's first step, without the sparsity penalty: what divergence is measured by
};

/// Where the checkpoint of a step lies.
std::filesystem::path checkpoint_folder(const std::filesystem::path& run, int64_t step);

/// Saves, removes what the policy supersedes, and returns the checkpoint's folder. Throws Error where the disk is full
/// or a value is not finite: nothing of the new checkpoint is left then, and older ones stand.
std::filesystem::path save_checkpoint(const std::filesystem::path& run, const State& state,
                                      const Checkpoint& checkpoint, const CheckpointPolicy& policy);

/// Removes what a kill in the middle of a checkpoint left behind.
void clean_checkpoints(const std::filesystem::path& run);

/// Restores the newest checkpoint whose checksums hold, telling `warn` of each bad one passed over. nullopt where the
/// run has none. Throws Error naming the checkpoint where none of several is good, or where its shape is not the
/// state's.
std::optional<Checkpoint> load_checkpoint(const std::filesystem::path& run, State& state,
                                          const std::function<void(const std::string&)>& warn);

}  // namespace assay::sae
