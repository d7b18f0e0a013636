#include "kernels/encode_topk.h"

#include "kernels/back_ends.h"
#include "kernels/registry.h"

namespace assay {

namespace {

constexpr Operation<decltype(encode_topk)> kEncodeTopk{"encode_topk", {encode_topk_cpu, nullptr}};

}  // namespace

void encode_topk(Context& context, ConstMatrix x, const Encoder& encoder, int64_t k, SparseCodes& out,
                 NumericFlag& flag) {
  kEncodeTopk.on(context.device())(context, x, encoder, k, out, flag);
}

}  // namespace assay
