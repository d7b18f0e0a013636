// Which arrays of the data a variant learns from, and what their sizes and scales make of its
// options.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "data/dataset.h"
#include "sae/train_config.h"
#include "sae/variant.h"

namespace assay::sae {

/// data.hook and data.more_hooks. Throws UsageError where one is named twice.
std::vector<std::string> input_names(const DataConfig& data);
/// Throws UsageError where the configuration names other hooks than the variant learns from.
void check_hooks(const DataConfig& data, const std::string& variant);

/// Σ d of hooks that stand side by side.
int64_t width_of(const std::vector<data::HookInfo>& hooks);

/// `inputs` are encoded, `targets` reconstructed, each in its training units. Throws UsageError
/// where k > n.
VariantOptions variant_options(const ModelConfig& model, const TrainConfig& train,
                               const std::vector<data::HookInfo>& inputs,
                               const std::vector<data::HookInfo>& targets);

}  // namespace assay::sae
