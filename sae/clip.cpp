#include "sae/clip.h"

#include <algorithm>
#include <cmath>

#include "kernels/sparse_decode.h"

namespace assay::sae {

namespace {

/// Adds the first `rows` rows of m, times `sign`, to sums [m.cols].
void add_columns(ConstMatrix m, int64_t rows, double sign, std::vector<double>& sums) {
  for (int64_t i = 0; i < rows; ++i) {
    for (int64_t c = 0; c < m.cols; ++c) sums[c] += sign * m.row(i)[c];
  }
}

}  // namespace

float clip_scale(Context& context, const BackwardInput& input, const LatentState& latents, const UpdateOptions& options,
                 int64_t batch, bool centred, double limit) {
  std::vector<double> bias(input.g.cols);
  add_columns(input.g, batch, 1, bias);
  if (centred) {
    SparseCodes codes = *input.codes;
    codes.values = *input.d_values;
    std::vector<float> through(codes.rows() * latents.w_enc.cols);
    const Matrix rows(through.data(), codes.rows(), latents.w_enc.cols);
    sparse_decode(context, codes, latents.w_enc, nullptr, rows);
    add_columns(rows, rows.rows, -1, bias);
  }
  double squares = gradient_squares(context, input, latents, options);
  for (const double value : bias) squares += value * value;
  const double norm = std::sqrt(squares);
  return norm > limit ? static_cast<float>(limit / norm) : 1.0f;
}

}  // namespace assay::sae
