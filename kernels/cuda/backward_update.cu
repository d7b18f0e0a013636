// backward_update on a device.
//   1. The pairs are ordered by latent, then row (sort_by_latent.cuh); each latent's bias gradient
//   is summed in that
//      order by one warp.
//   2. The centre's gradient Σ_j db_enc[j]·W_enc[j], from the weights before the step: partial sums
//   over the CPU's
//      parts of latents, a thread a column; then the parts in order. This reads W_enc once more
//      than the CPU does.
//   3. The step, a block a latent: each thread sums both gradients of its columns over the latent's
//   pairs in row order
//      (four columns in registers at a time, the decoder's row kept in shared memory), the block
//      removes the decoder gradient's part along its row, takes both Adam steps, renormalises, and
//      refreshes the row's bf16 copy and norms. Dots are in canonical order, by 16 lanes. No
//      floating-point atomics, no n×d gradient.
// Every sum runs in the CPU's order with the CPU's roundings (fused where it says so: compiled
// without contraction, with IEEE division and square root), so parameters, moments and centre have
// the CPU's bits by construction.
//
// gradient_squares sums the same gradients, a block a latent, both rows in shared memory; the host
// adds the latents' squares in the CPU's parts.
//
// Workspace: 20 bytes a latent, 32 a pair, 128·d floats, and (d + 3) floats of shared memory a
// block. Speed: not measured (no device yet).
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
