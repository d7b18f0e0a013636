// The trainer's state and options as the device step (kernels/cuda/topk_step.h) takes them.
#pragma once

#include "kernels/cuda/topk_step.h"
#include "sae/state.h"
#include "sae/variant.h"

namespace assay::sae {

/// Throws UsageError where the variant has no step on a device, or k does not fit.
TopKStepOptions device_step_options(const VariantOptions& options, int64_t rows);

/// Views of the four parameters with their moments, and of the silence counts.
TopKHostState host_state(State& state);

}  // namespace assay::sae
