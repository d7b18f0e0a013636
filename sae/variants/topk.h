// TopK (Gao et al. 2024, "Scaling and evaluating sparse autoencoders"): z = ReLU(top_k(pre)), unit
// decoder rows whose gradient loses its part along the row, AuxK with coefficient 1/32 and aux_k =
// d/2.
#pragma once

#include "sae/variant.h"

namespace assay::sae {

class TopK : public Variant {
 public:
  using Variant::Variant;

 protected:
  void encode(Context& context, State& state, NumericFlag& flag) override;
};

}  // namespace assay::sae
