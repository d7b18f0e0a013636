// Normalisations of single rows that some published dictionaries were trained behind. They depend
// on the row, so they cannot be folded into the weights.
//
//   layer_norm     x' = (x − μ) / (σ + 1e-5), μ and σ (of d − 1 degrees of freedom) of the row;
//   undone by ·σ + μ
//                  (OpenAI's TopK, SAELens)
//   constant_norm  x' = x·√d / ‖x‖; undone by ·‖x‖/√d (SAELens' constant_norm_rescale)
#pragma once

#include <string>

#include "kernels/base/view.h"

namespace assay::sae {

enum class InputNorm { none, layer_norm, constant_norm };

/// As cfg.json spells it.
std::string name_of(InputNorm norm);
/// Throws Error naming the known ones.
InputNorm parse_input_norm(const std::string& name);

/// y = x' of one row. A row without spread or length gives values that are not finite.
void normalise(InputNorm norm, const float* x, float* y, int64_t d);
/// y ← what a reconstruction of x' says of x.
void undo_normalise(InputNorm norm, const float* x, int64_t d, float* y);

}  // namespace assay::sae
