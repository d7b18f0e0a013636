// value_gradient on a device: one block a row, 16 lanes a pair. Lane l sums the elements l, l + 16, … by fused
// multiply-add, and four exchanges fold the lanes 16 → 8 → 4 → 2 → 1: the CPU's canonical order, so the same bits by
// construction.
//
// Workspace: none. Speed: not measured (no device yet).
#include "kernels/back_ends.h"
#include "kernels/cuda_launch.cuh"
#include "kernels/value_gradient.cuh"

namespace assay {

void value_gradient_cuda(Context&, const SparseCodes& codes, ConstMatrix g, ConstMatrix w_dec,
                         std::vector<float>& out) {
  out.resize(codes.pairs());
  const DeviceArray<int64_t> row_offsets(codes.row_offsets);
  const DeviceArray<int32_t> indices(codes.indices);
  const DeviceArray<float> values(codes.values), gradient(codes.pairs());
  const DeviceMatrix device_g(g), weights(w_dec);
  DeviceLauncher{}(ValueGradientKernel{row_offsets.data(), indices.data(), values.data(), device_g.view(),
                                       weights.view(), gradient.data()},
                   codes.rows(), 0);
  gradient.download(out.data());
}

}  // namespace assay
