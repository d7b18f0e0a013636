// sparse_decode on a device: one block a row. The row's pairs pass through shared memory, 128 at a time; a thread keeps
// the sums of four columns in registers and adds the pairs in order, one fused multiply-add a term, as the CPU does:
// the same bits by construction. Neighbouring threads read neighbouring columns of a decoder row.
//
// Workspace: 1 KB of shared memory a block. Speed: not measured (no device yet).
#include "kernels/back_ends.h"
#include "kernels/cuda_launch.cuh"
#include "kernels/sparse_decode.cuh"

namespace assay {

void sparse_decode_cuda(Context&, const SparseCodes& codes, ConstMatrix w_dec, const float* bias, Matrix out) {
  const DeviceArray<int64_t> row_offsets(codes.row_offsets);
  const DeviceArray<int32_t> indices(codes.indices);
  const DeviceArray<float> values(codes.values);
  const DeviceMatrix weights(w_dec), result(out.rows, out.cols);
  const DeviceArray<float> device_bias(bias, bias != nullptr ? out.cols : 0);
  DeviceLauncher{}(SparseDecodeKernel{row_offsets.data(), indices.data(), values.data(), weights.view(),
                                      device_bias.data(), result.view()},
                   out.rows, sizeof(SparseDecodeKernel::Shared));
  result.download(out);
}

}  // namespace assay
