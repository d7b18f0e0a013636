// How a probe reads features: as they are, by their root, on or off, z-scored.
#pragma once

#include <array>
#include <string>

#include "eval/learners/sparse.h"

namespace assay::eval::probing {

struct Reading {
  const char* name;
  /// Of a feature's value; 0 stays 0.
  float (*of)(float value);
  bool standardise;
};

/// z_scored, raw, sqrt (with the value's sign), binary (> 0).
extern const std::array<Reading, 4> kReadings;
/// Throws Error where there is none of this name.
const Reading& reading(const std::string& name);

SparseFeatures read(SparseFeatures x, const Reading& reading);

/// The options of logistic regression on features that were read so. Without z-scores C counts in
/// units of the features' mean variance, so that the grid means what it means for z-scored ones.
LogisticOptions options_of(const Reading& reading, const SparseFeatures& x);

}  // namespace assay::eval::probing
