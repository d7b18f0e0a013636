// What backward_update sums, as dense matrices in double.
#pragma once

#include <vector>

#include "kernels/backward_update.h"

namespace assay::reference {

struct DenseGradients {
  std::vector<double> enc, dec, bias, center;  ///< [n, d_in], [n, d_out], [n], [d_in]
};

/// Pair by pair as BackwardInput defines them; neither projected nor scaled.
inline DenseGradients dense_gradients(const BackwardInput& in, ConstMatrix w_enc,
                                      ConstMatrix w_dec) {
  const int64_t n = w_enc.rows, d_in = w_enc.cols, d_out = w_dec.cols;
  const SparseCodes& codes = *in.codes;
  const auto& decode = in.dec_values != nullptr ? *in.dec_values : codes.values;
  const auto& encode = *in.d_values;
  const auto& bias = in.d_bias != nullptr ? *in.d_bias : encode;
  DenseGradients sum{std::vector<double>(n * d_in), std::vector<double>(n * d_out),
                     std::vector<double>(n), std::vector<double>(d_in)};
  for (int64_t i = 0; i < codes.rows(); ++i) {
    for (int64_t p = codes.row_offsets[i]; p < codes.row_offsets[i + 1]; ++p) {
      if (decode[p] == 0 && encode[p] == 0) continue;
      const int64_t j = codes.indices[p];
      const double dec = decode[p], enc = encode[p];
      sum.bias[j] += bias[p];
      for (int64_t c = 0; c < d_out; ++c) sum.dec[j * d_out + c] += dec * in.g.row(i)[c];
      for (int64_t c = 0; c < d_in; ++c) {
        sum.enc[j * d_in + c] += enc * in.x.row(i % in.x.rows)[c];
        sum.center[c] += enc * w_enc.row(j)[c];
      }
    }
  }
  for (int64_t j = 0; j < n && in.dec_shrink != nullptr; ++j) {
    const double shrink = in.dec_shrink[j];
    for (int64_t c = 0; c < d_out; ++c) sum.dec[j * d_out + c] += shrink * w_dec.row(j)[c];
  }
  return sum;
}

}  // namespace assay::reference
