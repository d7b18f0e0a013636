// The configuration that a run folder keeps, read back.
#pragma once

#include <filesystem>
#include <string>

#include "data/base/config_fields.h"
#include "sae/trainer.h"

namespace assay::sae {

/// The sections of a configuration that say how a run is trained.
void describe_run(config::Fields& fields, DataConfig& data, ModelConfig& model, TrainConfig& train);

/// The three sections as YAML, every setting written out.
std::string yaml_of(DataConfig data, ModelConfig model, TrainConfig train);

/// RUN/config.yaml: its sections data, model and train, whichever version wrote the others.
/// Throws UsageError naming file and line where they are not this version's.
RunConfig read_run_config(const std::filesystem::path& run);

}  // namespace assay::sae
