// ReLU with an L1 penalty weighed by free decoder norms, as an autoencoder and as a crosscoder: see
// relu.cpp and crosscoder.cpp.
#pragma once

#include "sae/variants/penalised.h"

namespace assay::sae {

class ReLU : public Penalised {
 public:
  explicit ReLU(const VariantOptions& options);

  void initialise(Context& context, State& state, uint64_t seed,
                  const Batch& sample) const override;

 protected:
  double penalise(Context& context, State& state) override;
};

/// Decoder rows in uniform directions, every hook's part of norm `norm`, encoder = decoder. Biases
/// stay as they are.
void unit_rows_by_hook(Context& context, uint64_t seed, const std::vector<int64_t>& hooks,
                       float norm, State& state);

}  // namespace assay::sae
