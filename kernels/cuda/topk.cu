// topk on a device: one block a row, two ways by k; the same pairs as the CPU's, whatever the order
// of threads.
//
// Keys: an fp32's bits, mapped so that they compare as unsigned numbers (−0 as 0). The k-th largest
// key of a list is found by radix selection, one byte at a time from the top: a histogram of the
// byte among the keys that share the bytes above, and a scan of its 256 bins (Alabi et al. 2012,
// "Fast k-selection algorithms for graphics processing units"). What is above the k-th key, and the
// first of its equals that are still wanted, is then gathered by votes in index order, so ties go
// to the smaller index without a sort.
//   k ≤ 512: one pass over the row streams what rises above the k-th best so far into 2,048
//   candidates in shared memory, cut back to k by the selection above whenever they fill. The row
//   is read once. k > 512: the selection runs over the row itself: five reads of the row.
// A block that is asked for order by value ends with an in-place bitonic sort of its k pairs.
//
// Workspace: none but 18 KB of shared memory a block. Speed: not measured (no device yet).
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
