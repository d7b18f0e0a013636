// Small problems every variant is tested on.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "sae/variants/variants.h"
#include "tests/support/planted.h"

namespace assay::sae::test {

constexpr int64_t kRows = 96, kD = 24, kN = 120, kK = 6;
constexpr int64_t kOut = 16;   // of transcoders: the last columns of x
constexpr int64_t kHook = 10;  // of crosscoders: the columns of the first hook
constexpr double kVariance = 0.9;
constexpr int64_t kDeadAfter = 1'000'000;

inline VariantOptions small_options(const std::string& variant, double aux_coefficient = -1) {
  ModelConfig model;
  model.variant = variant;
  model.n = kN;
  model.k = kK;
  model.sparsity_warmup = 0;
  model.experts = 5;
  TrainConfig train;
  train.steps = 100;
  train.aux_coefficient = aux_coefficient;
  train.aux_k = 5;
  train.dead_after_tokens = kDeadAfter;
  VariantOptions options{model, with_defaults(train, model, kD), kD, kD, kVariance};
  const Reads reads = variant_entry(variant).reads;
  if (reads == Reads::pair) options.d_out = kOut;
  if (reads == Reads::several) options.hooks = {kHook, kD};
  return options;
}

inline std::vector<float> small_batch(uint64_t seed) {
  return support::planted_activations(kRows, kD, 60, 4, static_cast<int64_t>(seed));
}

inline Batch batch_of(const std::vector<float>& x, int64_t d_out = kD) {
  const ConstMatrix rows(x.data(), static_cast<int64_t>(x.size()) / kD, kD);
  return {rows, {x.data() + (kD - d_out), rows.rows, d_out, kD}};
}

/// Trained for some steps, away from every symmetry of the start.
inline State some_state(Context& context, Variant& variant, int64_t steps = 8, double lr = 3e-3) {
  State state = variant.create();
  const auto sample = small_batch(1);
  variant.initialise(context, state, 3, batch_of(sample, variant.options().d_out));
  for (int64_t t = 0; t < steps; ++t) {
    NumericFlag flag;
    const auto x = small_batch(10 + t);
    variant.step(context, state, batch_of(x, variant.options().d_out), lr, flag);
  }
  return state;
}

}  // namespace assay::sae::test
