// Task "splice": what the model itself loses when reconstructions replace the activations. Texts of
// the validation split run through the model's upper half from their stored residual stream;
// ordinary tokens are replaced by x̂, by zero, or by the data set's mean.
//
// With e the embedding from the untouched residual and e′ from the replaced one, loss = 1 − cos(e,
// e′):
//   splice_cosine_loss     mean loss with x̂
//   splice_recovered_zero  1 − Σ loss(x̂) / Σ loss(zero ablation)
//   splice_recovered_mean  the same against mean ablation
// Intervals are over documents. Methods "zero_ablation" and "mean_ablation" have their
// splice_cosine_loss beside.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "eval/tasks/task.h"
#include "sae/model_half.h"

namespace assay::eval::core {

/// One text's losses.
struct SpliceLoss {
  int64_t document = 0;
  double zero = 0, mean = 0;         ///< with ablated ordinary tokens
  std::vector<double> dictionaries;  ///< with x̂, in the order given
};

/// `texts`: indices into the table; results in that order. `upper` is called from the context's
/// threads. `mean` [d]. Throws Error where a text is not whole (positions not 0, 1, 2 …) or the
/// half's output is not finite.
std::vector<SpliceLoss> splice_losses(Context& context, const data::Dataset& dataset,
                                      const TextTable& table, const std::vector<int64_t>& texts,
                                      std::span<const sae::Dictionary* const> dictionaries,
                                      const std::vector<float>& mean, const sae::UpperHalf& upper,
                                      int64_t batch);

/// The first `count` validation texts, in a seeded order.
std::vector<int64_t> choose_splice_texts(const TextTable& table, const data::SplitRule& rule,
                                         int64_t count, uint64_t seed);

extern const TaskEntry kSplice;

}  // namespace assay::eval::core
