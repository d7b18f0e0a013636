#include "kernels/backward_update.h"

#include "kernels/back_ends.h"
#include "kernels/registry.h"

namespace assay {

namespace {

constexpr Operation<decltype(backward_update)> kBackwardUpdate{
    "backward_update", {backward_update_cpu, ASSAY_CUDA_BACK_END(backward_update_cuda)}};

}  // namespace

void backward_update(Context& context, const BackwardInput& input, const LatentState& state,
                     const UpdateOptions& options, float* center_gradient) {
  kBackwardUpdate.on(context.device())(context, input, state, options, center_gradient);
}

}  // namespace assay
