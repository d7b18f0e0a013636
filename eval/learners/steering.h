// Steering: a gate that decides which texts to change, and directions to change them by. dtypes,
// threads, determinism and errors as in eval/learners/linear.h.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "eval/learners/linear.h"

namespace assay::eval {

/// Opens where the probe's score is above a threshold.
struct Gate {
  LinearProbe probe;
  double threshold = 0;

  double score(std::span<const float> x) const;  ///< x [f]
  bool open(std::span<const float> x) const { return score(x) > threshold; }
};

/// `probe` (fit_lda's, say) with the threshold at the (1 − false_positives) quantile of its scores
/// of the negatives of x. 0 < false_positives < 1.
Gate make_gate(LinearProbe probe, ConstMatrix x, Labels y, double false_positives);

/// μ₀ − μ₁: what to add to make a positive look like the negatives' mean.
std::vector<double> steering_vector(ConstMatrix x, Labels y);

/// μ of the rows labelled `label`.
std::vector<double> class_mean(ConstMatrix x, Labels y, uint8_t label);

}  // namespace assay::eval
