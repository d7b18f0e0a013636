// backward_update.cuh on the device.
#include "kernels/back_ends.h"
#include "kernels/cuda/backward_update.cuh"
#include "kernels/cuda/cuda_machine.cuh"

namespace assay {

void backward_update_cuda(Context& context, const BackwardInput& input, const LatentState& state,
                          const UpdateOptions& options, float* center_gradient) {
  DeviceMachine machine;
  backward_update_on(machine, input, state, options, center_gradient);
  state.screen->refresh(context, state.w_enc);  // the CPU's packed form of the copy
}

double gradient_squares_cuda(Context&, const BackwardInput& input, const LatentState& state,
                             const UpdateOptions& options) {
  DeviceMachine machine;
  return gradient_squares_on(machine, input, state, options);
}

}  // namespace assay
