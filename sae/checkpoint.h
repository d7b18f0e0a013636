// Checkpoints: everything a run needs to go on to the same bits. Unsharded and versioned.
//
// checkpoints/step-00000500/ holds state.safetensors (weights, moments, silence counts) and trainer.json (step,
// running numbers, stream position, metrics state, the SHA-256 of state.safetensors). Written beside, fsynced, renamed.
#pragma once

#include <filesystem>
#include <functional>
#include <optional>
#include <string>

#include "data/stream.h"
#include "sae/metrics_log.h"
#include "sae/state.h"

namespace assay::sae {

struct Checkpoint {
  std::string data_hash;          ///< content_hash of the data set
  data::StreamPosition position;  ///< of the next batch
  MetricsState metrics;
};

/// Saves, then removes all but the newest `keep` checkpoints. Throws Error where the disk is full; older ones stand.
void save_checkpoint(const std::filesystem::path& run, const State& state, const Checkpoint& checkpoint, int64_t keep);

/// Restores the newest checkpoint whose checksums hold, telling `warn` of each bad one passed over. nullopt where the
/// run has none. Throws Error naming the checkpoint where none of several is good, or where its shape is not the
/// state's.
std::optional<Checkpoint> load_checkpoint(const std::filesystem::path& run, State& state,
                                          const std::function<void(const std::string&)>& warn);

}  // namespace assay::sae
