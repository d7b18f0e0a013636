// topk.cuh on the device.
#include "kernels/back_ends.h"
#include "kernels/cuda/cuda_machine.cuh"
#include "kernels/cuda/topk.cuh"

namespace assay {

void topk_cuda(Context&, ConstMatrix z, int64_t k, TopkOrder order, SparseCodes& out,
               NumericFlag& flag) {
  DeviceMachine machine;
  const DeviceMatrix from(machine, z);
  const Buffer<int32_t> indices(machine, z.rows * k);
  const Buffer<float> values(machine, z.rows * k);
  long long bad_row = NumericFlag::kNone;
  const Buffer<long long> flagged(machine, &bad_row, 1);
  machine(TopkKernel{from.view(), k, order == TopkOrder::value, indices.data(), values.data(),
                     flagged.data()},
          z.rows, sizeof(TopkKernel::Shared));
  indices.download(out.indices.data());
  values.download(out.values.data());
  flagged.download(&bad_row);
  if (bad_row != NumericFlag::kNone) flag.raise(bad_row);
}

}  // namespace assay
