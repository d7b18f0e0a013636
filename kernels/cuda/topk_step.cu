// The TopK step on a device: topk_step.cuh on the device's stream; batches travel on a stream of
// their own through two pinned buffers. About 20 launches a step and a product and a selection for
// each tile; the host waits for none. Speed: not measured (no device yet).
#include "kernels/base/context.h"
#include "kernels/cuda/cuda_machine.cuh"
#include "kernels/cuda/topk_step.cuh"

namespace assay {

struct DeviceTopKStep::Body {
  DeviceMachine machine;
  TopKStepOn<DeviceMachine> step;
  explicit Body(const TopKStepOptions& options) : step(machine, options) {}
};

DeviceTopKStep::DeviceTopKStep(const TopKStepOptions& options) {
  const Context available({Device::cuda, 1});  // says what is missing, where something is
  check_topk_step(options);
  body_ = std::make_unique<Body>(options);
}
DeviceTopKStep::~DeviceTopKStep() = default;
void DeviceTopKStep::upload(const TopKHostState& state) { body_->step.upload(state); }
int64_t DeviceTopKStep::download(const TopKHostState& state) { return body_->step.download(state); }
Matrix DeviceTopKStep::input() { return body_->step.input(); }
void DeviceTopKStep::run(double lr) { body_->step.run(lr); }
TopKStepReport DeviceTopKStep::report() { return body_->step.report(); }

}  // namespace assay
