// sparse_decode.cuh on the device.
#include "kernels/back_ends.h"
#include "kernels/cuda/cuda_machine.cuh"
#include "kernels/cuda/sparse_decode.cuh"

namespace assay {

void sparse_decode_cuda(Context&, const SparseCodes& codes, ConstMatrix w_dec, const float* bias,
                        Matrix out) {
  DeviceMachine machine;
  const Buffer<int64_t> row_offsets(machine, codes.row_offsets);
  const Buffer<int32_t> indices(machine, codes.indices);
  const Buffer<float> values(machine, codes.values);
  const DeviceMatrix weights(machine, w_dec), result(machine, out.rows, out.cols);
  const Buffer<float> device_bias(machine, bias, bias != nullptr ? out.cols : 0);
  machine(SparseDecodeKernel{row_offsets.data(), indices.data(), values.data(), weights.view(),
                             bias != nullptr ? device_bias.data() : nullptr, result.view()},
          out.rows, sizeof(SparseDecodeKernel::Shared));
  result.download(out);
}

}  // namespace assay
