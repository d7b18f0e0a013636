// encode_threshold on a device: the tiles and the error bound of encode_topk_cuda.cu. A block a row
// streams its part of a tile; latents whose screened distance from the lower edge of the band, with
// its error, is not negative are listed in order in shared memory, and whenever the list (2,048)
// fills, and at the tile's end, they are scored by the canonical fp32 dot and decided. The sweep
// runs twice: once to count a row's pairs, once to write them where they go.
//
// Workspace: the tile, 16 KB of shared memory a block. Speed: not measured (no device yet).
#include "kernels/back_ends.h"
#include "kernels/cuda/cuda_machine.cuh"
#include "kernels/cuda/encode_threshold.cuh"

namespace assay {

void encode_threshold_cuda(Context&, ConstMatrix x, const Encoder& encoder, const float* theta,
                           float band, SparseCodes& out, std::vector<float>* pre,
                           NumericFlag& flag) {
  DeviceMachine machine;
  encode_threshold_on(machine, x, encoder, theta, band, out, pre, flag);
}

}  // namespace assay
