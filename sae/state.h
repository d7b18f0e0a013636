// What training moves: parameters by name with their Adam moments, running numbers, silence counts.
// One form for every variant, so that a checkpoint need not know which one it holds. All at the
// training scale (E‖x‖² = 1).
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "kernels/backward_update.h"
#include "kernels/base/context.h"
#include "kernels/base/view.h"
#include "kernels/narrow_moments.h"
#include "kernels/screen_copy.h"

namespace assay::sae {

/// A parameter and its Adam moments, row-major.
struct Parameter {
  std::vector<int64_t> shape;
  std::vector<float> value, m, v;
  NarrowMoments narrow;  ///< a matrix's moments where they are not fp32; m and v are empty then

  Parameter() = default;
  explicit Parameter(std::vector<int64_t> shape_, MomentType moments = MomentType::fp32);
};

struct State {
  int64_t n = 0, d_in = 0, d_out = 0;
  /// W_enc [n, d_in], W_dec [n, d_out], b_enc [n], b_dec [d_out], …
  std::map<std::string, Parameter> parameters;
  /// what no gradient moves: a threshold's running mean, …
  std::map<std::string, double> numbers;
  /// running averages by name; empty without train.ema
  std::map<std::string, std::vector<float>> averaged;
  std::vector<int64_t> silent;  ///< [n] tokens since each latent last fired
  int64_t step = 0;             ///< optimiser steps taken
  ScreenCopy screen;            ///< of W_enc

  /// Zero parameters of the four common names. `moments` is how W_enc's and W_dec's are stored; all
  /// others are fp32.
  State(int64_t n_, int64_t d_in_, int64_t d_out_, MomentType moments = MomentType::fp32);
  void add(const std::string& name, std::vector<int64_t> shape) {
    parameters[name] = Parameter(std::move(shape));
  }
  Parameter& at(const std::string& name) { return parameters.at(name); }
  const Parameter& at(const std::string& name) const { return parameters.at(name); }
  ConstMatrix encoder() const { return {at("W_enc").value.data(), n, d_in}; }
  ConstMatrix decoder() const { return {at("W_dec").value.data(), n, d_out}; }
  const float* encoder_bias() const { return at("b_enc").value.data(); }
  const float* decoder_bias() const { return at("b_dec").value.data(); }
  /// That it holds, without the screen copy.
  int64_t bytes() const;
  /// A copy of all but the screen copy, which is made anew from W_enc.
  State without_screen() const;
  /// What backward_update moves.
  LatentState latents();
};

/// Rows [n, d] uniform on the unit sphere, drawn row by row from the seed.
void unit_rows(Context& context, uint64_t seed, Matrix out);

/// The geometric median of the rows of x [B, d] by Weiszfeld's iteration (to 1e-6 relative
/// movement, at most 200 rounds).
std::vector<float> geometric_median(ConstMatrix x);

}  // namespace assay::sae
