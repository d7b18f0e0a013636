#include "sae/input_norm.h"

#include <fmt/core.h>

#include <cmath>

#include "kernels/base/error.h"

namespace assay::sae {

namespace {

/// y = (x − shift)·scale; undone by y·back + shift.
struct Affine {
  double shift = 0, scale = 1, back = 1;
};

Affine of_row(InputNorm norm, const float* x, int64_t d) {
  Affine result;
  double sum = 0, squares = 0;
  for (int64_t c = 0; c < d; ++c) sum += x[c];
  if (norm == InputNorm::layer_norm) result.shift = sum / static_cast<double>(d);
  for (int64_t c = 0; c < d; ++c) squares += (x[c] - result.shift) * (x[c] - result.shift);
  if (norm == InputNorm::layer_norm) {
    result.back = std::sqrt(squares / static_cast<double>(d - 1));
    result.scale = 1 / (result.back + 1e-5);
  } else if (norm == InputNorm::constant_norm) {
    result.back = std::sqrt(squares / static_cast<double>(d));
    result.scale = 1 / result.back;
  }
  return result;
}

}  // namespace

std::string name_of(InputNorm norm) {
  return norm == InputNorm::none         ? "none"
         : norm == InputNorm::layer_norm ? "layer_norm"
                                         : "constant_norm";
}

InputNorm parse_input_norm(const std::string& name) {
  for (const InputNorm norm : {InputNorm::none, InputNorm::layer_norm, InputNorm::constant_norm})
    if (name == name_of(norm)) return norm;
  throw Error(fmt::format(
      "input_norm '{}' is unknown; this build reads: none, layer_norm, constant_norm", name));
}

void normalise(InputNorm norm, const float* x, float* y, int64_t d) {
  const Affine a = of_row(norm, x, d);
  for (int64_t c = 0; c < d; ++c) y[c] = static_cast<float>((x[c] - a.shift) * a.scale);
}

void undo_normalise(InputNorm norm, const float* x, int64_t d, float* y) {
  const Affine a = of_row(norm, x, d);
  for (int64_t c = 0; c < d; ++c) y[c] = static_cast<float>(y[c] * a.back + a.shift);
}

}  // namespace assay::sae
