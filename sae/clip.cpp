#include "sae/clip.h"

#include <cmath>

#include "kernels/sparse_decode.h"
#include "sae/blocks.h"

namespace assay::sae {

float clip_scale(Context& context, const BackwardInput& input, const LatentState& latents,
                 const UpdateOptions& options, int64_t batch, bool centred, double limit) {
  std::vector<float> bias(input.g.cols), through(latents.w_enc.cols);
  column_sums(context, input.g.slice(0, batch), bias.data());
  if (centred) {
    SparseCodes codes = *input.codes;
    codes.values = *input.d_values;
    std::vector<float> d_inputs(codes.rows() * latents.w_enc.cols);
    const Matrix rows(d_inputs.data(), codes.rows(), latents.w_enc.cols);
    sparse_decode(context, codes, latents.w_enc, nullptr, rows);
    column_sums(context, rows, through.data());
    for (size_t c = 0; c < bias.size(); ++c) bias[c] -= through[c];
  }
  double squares = gradient_squares(context, input, latents, options);
  for (const float value : bias) squares += static_cast<double>(value) * value;
  const double norm = std::sqrt(squares);
  return norm > limit ? static_cast<float>(limit / norm) : 1.0f;
}

}  // namespace assay::sae
