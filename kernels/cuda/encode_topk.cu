// encode_topk.cuh on the device.
#include "kernels/back_ends.h"
#include "kernels/cuda/cuda_machine.cuh"
#include "kernels/cuda/encode_topk.cuh"

namespace assay {

void encode_topk_cuda(Context&, ConstMatrix x, const Encoder& encoder, int64_t k, SparseCodes& out,
                      NumericFlag& flag) {
  DeviceMachine machine;
  encode_topk_on(machine, x, encoder, k, out, flag);
}

}  // namespace assay
