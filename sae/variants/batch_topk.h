// BatchTopK (Bussmann, Leask, Nanda 2024, "BatchTopK sparse autoencoders"): the B·k largest of
// ReLU(pre) over the whole batch; unit decoder rows and AuxK as TopK's. Published with a threshold
// in place of the batch: pre > θ, where θ is
//   average     the running average (0.999) of the smallest chosen value, from step 1000 on (or
//               half the run, where it is shorter), begun by its first value (0.999 and 1000 are
//               dictionary_learning's defaults)
//   calibrated  what gives mean L0 = k on rows of the validation split
#pragma once

#include "sae/variant.h"

namespace assay::sae {

class BatchTopK : public Variant {
 public:
  using Variant::Variant;

  Dictionary dictionary(const State& state) const override;
  void calibrate(Context& context, State& state, ConstMatrix rows) const override;
  bool needs_validation() const override { return options_.model.threshold == "calibrated"; }

 protected:
  void encode(Context& context, State& state, NumericFlag& flag) override;
  void step_own(Context& context, State& state, const AdamStep& adam) override;

 private:
  void choose(Context& context, const State& state, ConstMatrix centred, SparseCodes& out,
              NumericFlag& flag) const;
  /// Of scaled values; 0 where none was chosen.
  static float smallest(const SparseCodes& codes, const std::vector<float>& scale);

  float last_smallest_ = 0;
};

}  // namespace assay::sae
