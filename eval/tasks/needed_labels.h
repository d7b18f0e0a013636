// What a task needs of the data's labels, for Task::missing.
#pragma once

#include <string>
#include <vector>

#include "data/dataset.h"

namespace assay::eval {

/// A label that a task reads and the setting that names it.
struct NeededLabel {
  std::string name, setting;
};

/// Empty where the data have these labels (an empty name is none) and say which text each row
/// belongs to; else what they lack.
std::string lacks_labels(const data::Dataset& dataset, const std::vector<NeededLabel>& labels);

}  // namespace assay::eval
