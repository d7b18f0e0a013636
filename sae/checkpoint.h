// Checkpoints: everything a run needs to go on to the same bits. Unsharded and versioned.
//
// checkpoints/step-0000000500/ holds state.safetensors (parameters, moments, silence counts) and
// trainer.json (step, running numbers, stream position, metrics state, the SHA-256 of
// state.safetensors and its own). Written beside, fsynced, renamed; a folder whose name has a
// suffix (.part, .gone) is the remains of a kill and is never read.
#pragma once

#include <filesystem>
#include <functional>
#include <map>
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
  /// of the run's first step, without the sparsity penalty: what divergence is measured by
  double first_loss = 0;
  /// what a command keeps of its run beside the trainer's
  std::map<std::string, double> own = {};
  /// what else the result depends on, by name: SHA-256
  std::map<std::string, std::string> inputs = {};
};

/// Where the checkpoint of a step lies.
std::filesystem::path checkpoint_folder(const std::filesystem::path& run, int64_t step);

/// Saves, removes what the policy supersedes, and returns the checkpoint's folder. Throws Error
/// where the disk is full or a value is not finite: nothing of the new checkpoint is left then, and
/// older ones stand.
std::filesystem::path save_checkpoint(const std::filesystem::path& run, const State& state,
                                      const Checkpoint& checkpoint, const CheckpointPolicy& policy);

/// Removes what a kill in the middle of a checkpoint left behind.
void clean_checkpoints(const std::filesystem::path& run);

struct Restored {
  Checkpoint checkpoint;
  State state;  ///< its screen copy is not refreshed
};

/// A state of the shape that fits the checkpoint; throws Error where there is none.
using CreateState = std::function<State(const Checkpoint&)>;

/// The newest checkpoint whose checksums hold and whose shape is the created state's, telling
/// `warn` of each bad one passed over. nullopt where the run has none. Throws Error where none of
/// several is good.
std::optional<Restored> load_checkpoint(const std::filesystem::path& run, const CreateState& create,
                                        const std::function<void(const std::string&)>& warn);

/// The checkpoint of this very step. Throws UsageError where the run has none of it, Error where it
/// is bad.
Restored load_checkpoint_of(const std::filesystem::path& run, int64_t step,
                            const CreateState& create);

/// Removes the checkpoints of later steps: the run goes another way from here.
void remove_checkpoints_beyond(const std::filesystem::path& run, int64_t step);

}  // namespace assay::sae
