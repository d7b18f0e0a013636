// What a stream reads: one data set, several mixed by weight, or a rolling cache.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "data/dataset.h"

namespace assay::data {

class RollingCache;

struct Source {
  std::shared_ptr<const Dataset> dataset;
  double weight = 1;  ///< share of the rows, before normalisation
};

class Sources {
 public:
  /// One data set, which must outlive the sources.
  explicit Sources(const Dataset& dataset);
  /// Several with their weights. Error where a hook's d differs between them (asked by hook()).
  explicit Sources(std::vector<Source> sources);
  /// Each text is "WEIGHT PATH", WEIGHT > 0. UsageError naming the text.
  static Sources open_mixture(const std::vector<std::string>& texts,
                              SinkRows sinks = SinkRows::leave_out);

  /// A cache that a harvester fills meanwhile (data/rolling.h); waits up to `wait_seconds` for its
  /// first shard, and for each later one.
  static Sources open_rolling(const std::filesystem::path& folder, int64_t wait_seconds,
                              SinkRows sinks = SinkRows::leave_out);

  /// Empty for a rolling cache.
  const std::vector<Source>& all() const { return sources_; }
  const std::shared_ptr<RollingCache>& rolling() const { return rolling_; }
  /// What the first data set says of model, revision and hook; content_hash over all of them and
  /// their weights.
  const DatasetInfo& info() const { return info_; }
  /// Statistics of the mixture: with weights w (summing to 1), mean = Σ w μ, E‖x‖² = Σ w E_j‖x‖²,
  /// one scale for all.
  HookInfo hook(const std::string& name) const;

 private:
  Sources() = default;

  std::vector<Source> sources_;
  std::shared_ptr<RollingCache> rolling_;
  DatasetInfo info_;
};

/// Why a data set has no mean and scale, and what to do, for a message.
std::string no_statistics(const DatasetInfo& info);

}  // namespace assay::data
