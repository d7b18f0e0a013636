// What a stream reads: one data set, or several mixed by weight.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "data/dataset.h"

namespace assay::data {

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
  static Sources open_mixture(const std::vector<std::string>& texts);

  const std::vector<Source>& all() const { return sources_; }
  /// What the first data set says of model, revision and hook; content_hash over all of them and their weights.
  const DatasetInfo& info() const { return info_; }
  /// Statistics of the mixture: with weights w (summing to 1), mean = Σ w μ, E‖x‖² = Σ w E_j‖x‖², one scale for all.
  HookInfo hook(const std::string& name) const;

 private:
  std::vector<Source> sources_;
  DatasetInfo info_;
};

}  // namespace assay::data
