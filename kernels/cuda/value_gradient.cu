// value_gradient.cuh on the device.
#include "kernels/back_ends.h"
#include "kernels/cuda/cuda_machine.cuh"
#include "kernels/cuda/value_gradient.cuh"

namespace assay {

void value_gradient_cuda(Context&, const SparseCodes& codes, ConstMatrix g, ConstMatrix w_dec,
                         std::vector<float>& out) {
  out.resize(codes.pairs());
  DeviceMachine machine;
  const Buffer<int64_t> row_offsets(machine, codes.row_offsets);
  const Buffer<int32_t> indices(machine, codes.indices);
  const Buffer<float> values(machine, codes.values), gradient(machine, codes.pairs());
  const DeviceMatrix device_g(machine, g), weights(machine, w_dec);
  machine(ValueGradientKernel{row_offsets.data(), indices.data(), values.data(), device_g.view(),
                              weights.view(), gradient.data()},
          codes.rows(), 0);
  gradient.download(out.data());
}

}  // namespace assay
