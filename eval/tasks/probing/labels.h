// The labels that the probing tasks read.
#pragma once

#include "eval/tasks/needed_labels.h"
#include "eval/tasks/probing/settings.h"

namespace assay::eval::probing {

/// For Task::missing.
inline std::string lacks_probing_labels(const data::Dataset& dataset, const OodConfig& config) {
  return lacks_labels(dataset, {{config.class_label, "ood_probing.class_label"},
                                {config.domain_label, "ood_probing.domain_label"},
                                {config.filter_label, "ood_probing.filter_label"}});
}

}  // namespace assay::eval::probing
