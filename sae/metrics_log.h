// metrics.jsonl: one JSON object a line, averaged over the steps since the line before.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include "sae/append_file.h"
#include "sae/variant.h"

namespace assay::sae {

/// What a checkpoint keeps of the log: its length, and the sums not yet written.
struct MetricsState {
  int64_t bytes = 0;
  int64_t steps = 0;
  double loss = 0, fvu = 0, aux_loss = 0, l0 = 0;
};

class MetricsLog {
 public:
  /// Opens RUN/metrics.jsonl for appending, cut to state.bytes; a log that is lost or damaged is
  /// repaired (whole_lines).
  MetricsLog(const std::filesystem::path& file, const MetricsState& state)
      : file_(file, whole_lines(file, state.bytes)), state_(state) {}

  /// The means of `steps` steps.
  void add(const StepReport& report, int64_t steps);
  struct Line {
    int64_t step = 0, tokens = 0, dead = 0;
    double loss = 0, fvu = 0, aux_loss = 0, l0 = 0, lr = 0, tokens_per_s = 0;
    double sparsity = 0;  ///< the penalty's weight at the last step; 0: there is no penalty
    std::vector<std::string> warnings;
  };
  /// The averages since the last line; everything else is the caller's.
  Line means() const;
  /// Append the line and begin the next averages.
  void write(const Line& line);
  /// The state after flushing to disk.
  MetricsState sync();

 private:
  AppendFile file_;
  MetricsState state_;
};

/// The line's numbers under the tags that TensorBoard shows.
std::vector<std::pair<std::string, float>> scalars_of(const MetricsLog::Line& line);

}  // namespace assay::sae
