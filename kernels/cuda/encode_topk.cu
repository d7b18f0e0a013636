// encode_topk on a device: the CPU's certificate (kernels/encode_topk.h), step for step.
//   1. The largest norm, error, bias and scale of the encoder bound every latent's; rows are
//   rounded to bf16 with their
//      norms and rounding errors, 16 lanes a row.
//   2. A tile of the product (cuBLASLt, bf16 with fp32 accumulation) is a third of the L2 cache.
//   Once it stands there,
//      a block a row streams its part of it: what reaches the row's threshold is appended, in
//      order, to the row's candidates in shared memory. When they fill (2,048, or 2k + 1,280),
//      radix selection finds the k-th best and the threshold rises to it less twice the row's
//      widest error. Between tiles candidates and threshold rest in memory.
//   3. A block a row keeps the candidates whose upper bound reaches the k-th best lower bound,
//   rescores them by the
//      canonical fp32 dot from the master weights (16 lanes each), and selects the k best, ties to
//      the smaller index.
//   4. Rows whose candidates overflow (near-ties below what bf16 can tell apart), whose products
//   could, or that are not
//      finite, are scored exactly over all n, 64 rows at a time. So are all rows where k is above
//      4,096.
// The bound's γ is twice the CPU's: tensor cores truncate. The winners are the canonical ones
// either way. Certificate: kernels/encode_topk.h. Selection: topk_cuda.cu.
//
// Workspace: the tile, 16 KB a row of candidates (more for k > 384), 64·n floats. Speed: not
// measured (no device yet).
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
