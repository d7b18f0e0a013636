// encode_threshold.cuh on the device.
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
