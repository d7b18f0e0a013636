// metrics.jsonl, the training log, as curves.
#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <vector>

namespace assay::eval::report {

struct TrainingLog {
  /// "tokens", "loss", …; all of `lines` values
  std::map<std::string, std::vector<double>> columns;
  int64_t lines = 0;
  /// the last line was not finished (a run still writing); it is left out
  bool open_ended = false;
};

/// Throws Error naming the file, the line and what does not fit (every line needs the numbers of
/// the first one, and "tokens"). Files above 256 MiB are refused.
TrainingLog read_training_log(const std::filesystem::path& file);

}  // namespace assay::eval::report
