// The one configuration file: data + model + train + eval.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "data/base/config_fields.h"
#include "eval/tasks/settings.h"
#include "kernels/base/error.h"
#include "sae/run_config.h"

namespace assay {

struct Config {
  sae::DataConfig data;
  sae::ModelConfig model;
  sae::TrainConfig train;
  eval::EvalConfig eval;
};

inline void describe(config::Fields& fields, Config& c) {
  sae::describe_run(fields, c.data, c.model, c.train);
  fields.section(
      "eval", [&](config::Fields& f) { eval::describe(f, c.eval); }, "Evaluation tasks.");
}

/// Resolved: every setting written out.
inline std::string yaml_of(Config config) {
  return config::write_yaml([&](config::Fields& f) { describe(f, config); });
}

/// The axes of a sweep's grid; an empty one holds the configuration's own value.
struct SweepConfig {
  std::vector<std::string> variant;
  std::vector<int64_t> n, seed;
  std::vector<double> k, sparsity;
};

inline void describe(config::Fields& fields, SweepConfig& c) {
  fields.section(
      "sweep",
      [&](config::Fields& f) {
        f.texts("variant", c.variant, "Variants; empty takes model.variant.");
        f.integers("n", c.n, {1, INT32_MAX}, "latents", "Sizes; empty takes model.n.");
        f.reals("k", c.k, {1, INT32_MAX}, "latents a token",
                "L0s, of the variants that take one; empty takes model.k.");
        f.reals(
            "sparsity", c.sparsity, {0, 1e6}, "",
            "Weights of the penalty, of the variants that have one; empty takes model.sparsity.");
        f.integers("seed", c.seed, {0, INT64_MAX}, "",
                   "Seeds of the initial weights; empty takes train.seed.");
      },
      "Read by assay sweep alone: every combination is trained.");
}

/// Throws UsageError where the configuration does not name its data in exactly one way.
inline void check_data(const std::string& file, const Config& config) {
  if (config.data.path.empty() == config.data.mixture.empty()) {
    throw UsageError(
        file + ": name the folder of shards in data.path, or several in data.mixture, not both");
  }
}

}  // namespace assay
