#include "sae/variants/topk.h"

#include <algorithm>

#include "kernels/encode_topk.h"
#include "sae/variants/variants.h"

namespace assay::sae {

void TopK::encode(Context& context, State& state, NumericFlag& flag) {
  encode_topk(context, centred(), encoder(state), options_.model.row_k(), codes_, flag);
  for (float& value : codes_.values) value = std::max(value, 0.0f);
}

const VariantEntry kTopK{
    .name = "topk",
    .make = make_as<TopK>,
    .learning_rate = topk_learning_rate,
    .freezes = true,
};

}  // namespace assay::sae
