#include "sae/unused_settings.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "data/base/say.h"
#include "kernels/base/error.h"
#include "sae/variants/variants.h"

namespace assay::sae {

namespace {

struct Settings {
  ModelConfig model;
  TrainConfig train;
};

/// One that only some variants use.
struct Setting {
  const char* name;
  bool (*used)(const VariantEntry&, const Settings&);
  bool (*differs)(const Settings&);  ///< from its default
  void (*reset)(Settings&);
};

template <auto Section, auto Field>
Setting setting(const char* name, bool (*used)(const VariantEntry&, const Settings&)) {
  return {name, used,
          [](const Settings& s) { return s.*Section.*Field != Settings().*Section.*Field; },
          [](Settings& s) { s.*Section.*Field = Settings().*Section.*Field; }};
}

const std::vector<Setting>& all_settings() {
  const auto penalised = [](const VariantEntry& v, const Settings&) { return v.takes_sparsity(); };
  constexpr auto kModel = &Settings::model;
  static const std::vector<Setting> all{
      setting<kModel, &ModelConfig::prefixes>("model.prefixes",
                                              [](const auto& v, const auto&) { return v.nested; }),
      setting<kModel, &ModelConfig::threshold>(
          "model.threshold", [](const auto& v, const auto&) { return v.batch_threshold; }),
      setting<kModel, &ModelConfig::experts>("model.experts",
                                             [](const auto& v, const auto&) { return v.routed; }),
      setting<kModel, &ModelConfig::balance>("model.balance",
                                             [](const auto& v, const auto&) { return v.routed; }),
      setting<kModel, &ModelConfig::sparsity>("model.sparsity", penalised),
      setting<kModel, &ModelConfig::sparsity_warmup>("model.sparsity_warmup", penalised),
      setting<kModel, &ModelConfig::sparsity_loss>(
          "model.sparsity_loss",
          [](const auto& v, const auto&) { return v.governs == Governs::both; }),
      setting<&Settings::train, &TrainConfig::aux_k>(
          "train.aux_k", [](const auto& v, const auto& s) {
            return (s.train.aux_coefficient < 0 ? v.aux_coefficient : s.train.aux_coefficient) > 0;
          })};
  return all;
}

/// Of the settings above, those that a variant uses.
std::vector<std::string> used_by(const VariantEntry& variant, const Settings& settings) {
  std::vector<std::string> names{"model.n"};
  if (variant.takes_k()) names.emplace_back("model.k");
  for (const Setting& each : all_settings()) {
    if (each.used(variant, settings)) names.emplace_back(each.name);
  }
  return names;
}

}  // namespace

void refuse_unused(const ModelConfig& model, const TrainConfig& train,
                   const std::vector<std::string>& variants) {
  const Settings settings{model, train};
  for (const Setting& each : all_settings()) {
    const auto uses = [&](const std::string& name) {
      return each.used(variant_entry(name), settings);
    };
    if (!each.differs(settings) || std::any_of(variants.begin(), variants.end(), uses)) continue;
    throw UsageError(
        fmt::format("{}: the variant {} does not use it; {} takes {}: leave it out", each.name,
                    fmt::join(variants, ", "), variants.front(),
                    fmt::join(used_by(variant_entry(variants.front()), settings), ", ")));
  }
}

void check_settings(const ModelConfig& model, const TrainConfig& train) {
  refuse_unused(model, train, {model.variant});
  if (variant_entry(model.variant).takes_k() || model.k == ModelConfig().k) return;
  data::note(fmt::format("model.k = {} is not used: the L0 of {} follows from model.sparsity",
                         model.k, model.variant));
}

void drop_unused(ModelConfig& model, TrainConfig& train) {
  Settings settings{model, train};
  for (const Setting& each : all_settings()) {
    if (!each.used(variant_entry(model.variant), settings)) each.reset(settings);
  }
  model = settings.model;
  train = settings.train;
}

}  // namespace assay::sae
