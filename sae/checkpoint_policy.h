// When checkpoints are written and which of them stay. Neither ever changes a result.
#pragma once

#include <chrono>
#include <cstdint>
#include <vector>

namespace assay::sae {

struct CheckpointPolicy {
  int64_t every_steps = 0;    ///< 0 = never by steps
  double every_minutes = 15;  ///< of wall time since the last one; 0 = never by time
  int64_t keep_last = 2;      ///< newest checkpoints kept, at least 1
  /// steps: a checkpoint is also written at every multiple of it and kept; 0 = none
  int64_t keep_every = 0;
};

class CheckpointClock {
 public:
  using Clock = std::chrono::steady_clock;

  CheckpointClock(const CheckpointPolicy& policy, Clock::time_point start)
      : policy_(policy), last_(start) {}
  /// Whether one is due when `step` steps are done.
  bool due(int64_t step, Clock::time_point now) const;
  void written(Clock::time_point now) { last_ = now; }

 private:
  CheckpointPolicy policy_;
  Clock::time_point last_;
};

/// Of the checkpoints at `steps` (any order), those to remove now that the one at `current` is
/// written. Steps beyond `current` belong to a past that was passed over as damaged: they neither
/// count nor go (the run replaces them).
std::vector<int64_t> superseded(const std::vector<int64_t>& steps, int64_t current,
                                const CheckpointPolicy& policy);

}  // namespace assay::sae
