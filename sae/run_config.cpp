#include "sae/run_config.h"

#include "data/base/config_fields.h"

namespace assay::sae {

void describe_run(config::Fields& fields, DataConfig& data, ModelConfig& model,
                  TrainConfig& train) {
  fields.section(
      "data", [&](config::Fields& f) { describe(f, data); },
      "The activations, and how they are split and shuffled.");
  fields.section(
      "model", [&](config::Fields& f) { describe(f, model); }, "The dictionary.");
  fields.section(
      "train", [&](config::Fields& f) { describe(f, train); }, "Optimisation.");
}

std::string yaml_of(DataConfig data, ModelConfig model, TrainConfig train) {
  return config::write_yaml([&](config::Fields& f) { describe_run(f, data, model, train); });
}

RunConfig read_run_config(const std::filesystem::path& run) {
  RunConfig result;
  config::read_sections(
      (run / "config.yaml").string(), {"data", "model", "train"},
      [&](config::Fields& f) { describe_run(f, result.data, result.model, result.train); });
  result.resolved_yaml = yaml_of(result.data, result.model, result.train);
  return result;
}

}  // namespace assay::sae
