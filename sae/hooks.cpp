#include "sae/hooks.h"

#include <fmt/core.h>

#include <algorithm>

#include "kernels/base/error.h"
#include "sae/units.h"
#include "sae/variants/variants.h"

namespace assay::sae {

std::vector<std::string> input_names(const DataConfig& data) {
  std::vector<std::string> names{data.hook};
  for (const std::string& name : data.more_hooks) {
    if (std::find(names.begin(), names.end(), name) != names.end()) {
      throw UsageError(
          fmt::format("data.more_hooks: {} is there twice: name every hook once", name));
    }
    names.push_back(name);
  }
  return names;
}

void check_hooks(const DataConfig& data, const std::string& name) {
  const Reads reads = variant_entry(name).reads;
  const auto fail = [](const std::string& what) { throw UsageError(what); };
  if (reads == Reads::pair && data.target_hook.empty()) {
    fail(fmt::format(
        "model.variant = {} reconstructs another hook than it reads: name it in data.target_hook",
        name));
  }
  if (reads != Reads::pair && !data.target_hook.empty()) {
    fail(fmt::format(
        "data.target_hook = {} is for transcoders; {} reconstructs what it reads: leave it empty",
        data.target_hook, name));
  }
  if (reads == Reads::several && data.more_hooks.empty()) {
    fail(fmt::format(
        "model.variant = {} reads several hooks: name those beside data.hook in data.more_hooks",
        name));
  }
  if (reads != Reads::several && !data.more_hooks.empty()) {
    fail(
        fmt::format("data.more_hooks is for crosscoders; {} reads one hook: leave it empty", name));
  }
}

int64_t width_of(const std::vector<data::HookInfo>& hooks) {
  int64_t d = 0;
  for (const data::HookInfo& hook : hooks) d += hook.d;
  return d;
}

VariantOptions variant_options(const ModelConfig& model, const TrainConfig& train,
                               const std::vector<data::HookInfo>& inputs,
                               const std::vector<data::HookInfo>& targets) {
  if (model.k > model.n) {
    throw UsageError(
        fmt::format("model.k = {} is larger than model.n = {}: set k ≤ n", model.k, model.n));
  }
  const int64_t d_out = width_of(targets);
  VariantOptions options{model, with_defaults(train, model, d_out), width_of(inputs), d_out, 0};
  for (const data::HookInfo& hook : targets)
    options.variance += hook.variance * training_scale(hook) * training_scale(hook);
  if (variant_entry(model.variant).reads == Reads::several) {
    int64_t end = 0;
    for (const data::HookInfo& hook : inputs) options.hooks.push_back(end += hook.d);
  }
  return options;
}

}  // namespace assay::sae
