// The line that tells how training goes: one line rewritten on a terminal, plain lines elsewhere
// (about one in ten seconds). Always on stderr.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>

#include "sae/metrics_log.h"

namespace assay::sae {

class Progress {
 public:
  /// Lines begin with `name`.
  Progress(int64_t total_steps, std::string name);
  ~Progress();
  void show(const MetricsLog::Line& line, int64_t latents);

 private:
  using Clock = std::chrono::steady_clock;
  int64_t total_, first_ = -1;
  std::string name_;
  bool terminal_;
  Clock::time_point start_, shown_;
};

}  // namespace assay::sae
