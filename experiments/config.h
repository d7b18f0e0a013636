// The one configuration file: data + model + train + eval.
#pragma once

#include "data/config_fields.h"
#include "eval/eval_config.h"
#include "sae/train_config.h"

namespace assay {

struct Config {
  sae::DataConfig data;
  sae::ModelConfig model;
  sae::TrainConfig train;
  eval::EvalConfig eval;
};

inline void describe(config::Fields& fields, Config& c) {
  fields.section(
      "data", [&](config::Fields& f) { sae::describe(f, c.data); },
      "The activations, and how they are split and shuffled.");
  fields.section(
      "model", [&](config::Fields& f) { sae::describe(f, c.model); }, "The dictionary.");
  fields.section(
      "train", [&](config::Fields& f) { sae::describe(f, c.train); }, "Optimisation.");
  fields.section(
      "eval", [&](config::Fields& f) { eval::describe(f, c.eval); }, "Evaluation tasks.");
}

}  // namespace assay
