// The back ends behind the public operations, each with its operation's contract. Callers use the
// operations; only the registry's tables and the back ends themselves include this.
#pragma once

#include "kernels/backward_update.h"
#include "kernels/encode_threshold.h"
#include "kernels/encode_topk.h"
#include "kernels/sparse_backward.h"
#include "kernels/sparse_decode.h"
#include "kernels/topk.h"

namespace assay {

decltype(topk) topk_cpu, topk_cuda;
decltype(encode_topk) encode_topk_cpu, encode_topk_cuda;
decltype(encode_threshold) encode_threshold_cpu, encode_threshold_cuda;
decltype(sparse_decode) sparse_decode_cpu, sparse_decode_cuda;
decltype(value_gradient) value_gradient_cpu, value_gradient_cuda;
decltype(backward_update) backward_update_cpu, backward_update_cuda;
decltype(gradient_squares) gradient_squares_cpu, gradient_squares_cuda;

}  // namespace assay
