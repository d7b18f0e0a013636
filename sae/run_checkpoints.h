// A run folder's checkpoints as the process that trains in it sees them: what it goes on from, when
// the next one is due, which is the last good one.
#pragma once

#include <cstdint>
#include <filesystem>
#include <future>
#include <map>
#include <optional>
#include <string>

#include "data/base/lease.h"
#include "kernels/base/context.h"
#include "sae/checkpoint.h"
#include "sae/train_config.h"

namespace assay::sae {

CheckpointPolicy policy_of(const TrainConfig& train);

enum class Writing { now, behind };

class RunCheckpoints {
 public:
  /// The time till the first one that is due begins here. Nothing is touched.
  RunCheckpoints(std::filesystem::path run, const CheckpointPolicy& policy);

  /// Keeps other processes out of the folder, which is made where it is missing, from now on.
  /// Throws Error where one is in it (data/base/lease.h). Before restore() and save().
  void claim();

  /// Clears away what a kill left, and restores the newest good checkpoint, or that of step `at`
  /// (later ones are then removed; 0: none is restored); bad ones passed over are warned of.
  /// nullopt where there is none. Throws as load_checkpoint and load_checkpoint_of do.
  std::optional<Restored> restore(Context& context, const CreateState& create,
                                  std::optional<int64_t> at = std::nullopt);
  /// Throws what a write behind ran into.
  bool due(int64_t step);
  /// As save_checkpoint; the clock starts anew. Behind: a thread of its own writes a copy of the
  /// state, and the caller waits for the copy alone, and for the checkpoint before if that is still
  /// being written. If there is no room for a copy, or no thread, it is written now. Throws Error
  /// where another process has taken the folder over, and what the write before ran into.
  void save(const State& state, const Checkpoint& checkpoint, Writing when = Writing::now);
  /// Waits for what is being written behind. Throws what went wrong.
  void settle();
  /// For the message of a failure: "there is no checkpoint yet", or where it lies.
  std::string last_good();

 private:
  /// False if there is no room for a copy, or no thread.
  bool write_behind(const State& state, const Checkpoint& checkpoint);

  std::filesystem::path run_;
  std::optional<data::Lease> lease_;
  CheckpointPolicy policy_;
  CheckpointClock clock_;
  std::string last_good_;
  std::future<std::filesystem::path> behind_;
};

/// Throws Error unless the data set at `path` is the one that the checkpoint's run learnt from.
void check_same_data(const Checkpoint& checkpoint, const std::string& data_hash,
                     const std::filesystem::path& path);
/// Throws Error naming the first of the checkpoint's `inputs` that is another one now.
void check_same_inputs(const Checkpoint& checkpoint,
                       const std::map<std::string, std::string>& inputs);

}  // namespace assay::sae
