// Settings that the chosen variant does not use are refused, not ignored.
#pragma once

#include <string>
#include <vector>

#include "sae/train_config.h"

namespace assay::sae {

/// Throws UsageError naming the first setting that differs from its default and that none of the
/// variants uses, and what they do take. model.variant itself is not looked at.
void refuse_unused(const ModelConfig& model, const TrainConfig& train,
                   const std::vector<std::string>& variants);

/// As refuse_unused for model.variant; where L0 follows from a penalty, a model.k that is not the
/// default is warned of on the log.
void check_settings(const ModelConfig& model, const TrainConfig& train);

/// What model.variant does not use goes back to its default, but for model.k.
void drop_unused(ModelConfig& model, TrainConfig& train);

}  // namespace assay::sae
