#include "sae/device_step.h"

#include <fmt/core.h>

#include "kernels/base/error.h"

namespace assay::sae {

TopKStepOptions device_step_options(const VariantOptions& options, int64_t rows) {
  const TrainConfig& t = options.train;
  if (options.model.variant != "topk") {
    throw UsageError(fmt::format(
        "train.device = cuda: variant {} has no step on a device (topk has); use device: cpu",
        options.model.variant));
  }
  if (options.model.frozen != "none") {
    throw UsageError(
        fmt::format("train.device = cuda: the device's step cannot hold what model.frozen = {} "
                    "names; use device: cpu",
                    options.model.frozen));
  }
  if (t.clip_norm > 0 || t.ema > 0 || t.resample_every > 0) {
    throw UsageError(
        "train.device = cuda: the device's step has no train.clip_norm, train.ema or "
        "train.resample_every; set them to "
        "0, or use device: cpu");
  }
  if (t.optimizer_state != "fp32") {
    throw UsageError(
        fmt::format("train.device = cuda: the device's step keeps its moments in fp32, and "
                    "train.optimizer_state is {}; "
                    "set it to fp32, or use device: cpu",
                    t.optimizer_state));
  }
  const TopKStepOptions o{rows,
                          options.model.n,
                          options.d_in,
                          options.model.row_k(),
                          t.aux_k,
                          t.aux_coefficient,
                          t.dead_after_tokens,
                          options.variance,
                          t.beta1,
                          t.beta2,
                          t.eps};
  check_topk_step(o);
  return o;
}

TopKHostState host_state(State& state) {
  const auto moving = [&state](const char* name) {
    Parameter& p = state.at(name);
    return MovingParameter{p.value.data(), p.m.data(), p.v.data()};
  };
  return {moving("W_enc"), moving("W_dec"),     moving("b_enc"),
          moving("b_dec"), state.silent.data(), state.step};
}

}  // namespace assay::sae
