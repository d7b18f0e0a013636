// A loss that somebody else computes from a batch's codes or reconstructions: the gradient that
// trains a dictionary, or its encoder alone, comes from outside.
#pragma once

#include <vector>

#include "kernels/base/view.h"
#include "kernels/sparse_codes.h"

namespace assay::sae {

/// What a variant offers once a batch is encoded and reconstructed, at the training scale.
struct OutsideInput {
  const SparseCodes& codes;    ///< as Variant::codes(): B rows, or B a nested group
  ConstMatrix reconstruction;  ///< x̂ [B, d_out]: of nested ones, the reported (whole) one
  double fvu;                  ///< of that reconstruction in this batch
};

/// What comes back, already weighted as it is to be minimised.
struct OutsideGradient {
  double loss = 0;  ///< added to the step's
  /// multiplies the variant's squared error; 0: the outside loss alone
  double error_weight = 1;
  std::vector<float> d_reconstruction;  ///< [B, d_out] ∂loss/∂x̂; empty: none
  /// ∂loss/∂value, one a pair of codes; empty: none. Active pairs count, and those in JumpReLU's
  /// band
  std::vector<float> d_codes;
};

class OutsideLoss {
 public:
  virtual ~OutsideLoss() = default;
  /// Called once a step, on the calling thread. Throws to abandon the step: the state is then as it
  /// was.
  virtual OutsideGradient differentiate(const OutsideInput& input) = 0;
};

}  // namespace assay::sae
