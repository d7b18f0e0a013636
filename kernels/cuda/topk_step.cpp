#include "kernels/cuda/topk_step.h"

#include <fmt/core.h>

#include "kernels/base/context.h"
#include "kernels/base/error.h"
#include "kernels/cuda/machine.h"

namespace assay {

void check_topk_step(const TopKStepOptions& o) {
  const auto check_k = [&o](const char* name, int64_t k) {
    if (k < 1 || k > o.n)
      throw UsageError(fmt::format("step on cuda: {} = {} is outside 1…n = {}", name, k, o.n));
  };
  check_k("k", o.k);
  if (o.aux_coefficient > 0) check_k("aux_k", o.aux_k);
  const int64_t aux_k = o.aux_coefficient > 0 ? o.aux_k : 0;
  if (o.batch < 1 || o.batch > kMostCounted / (o.k + aux_k)) {
    throw UsageError(
        fmt::format("step on cuda: a batch of {} rows with {} + {} latents each is not in 1…{} "
                    "pairs; take a smaller batch",
                    o.batch, o.k, aux_k, kMostCounted));
  }
}

#ifndef ASSAY_CUDA
// A build without CUDA has no such step, and says so.
struct DeviceTopKStep::Body {};
DeviceTopKStep::DeviceTopKStep(const TopKStepOptions&) { const Context refuses({Device::cuda, 1}); }
DeviceTopKStep::~DeviceTopKStep() = default;
void DeviceTopKStep::upload(const TopKHostState&) {}
int64_t DeviceTopKStep::download(const TopKHostState&) { return 0; }
Matrix DeviceTopKStep::input() { return {}; }
void DeviceTopKStep::run(double) {}
TopKStepReport DeviceTopKStep::report() { return {}; }
#endif

}  // namespace assay
