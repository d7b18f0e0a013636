// Decoder rows of chosen latents.
#pragma once

#include <cstdint>
#include <vector>

#include "sae/dictionary.h"

namespace assay::eval::spurious {

/// [latents, d].
inline std::vector<float> gather_decoder(const sae::Dictionary& dictionary,
                                         const std::vector<int32_t>& latents) {
  const int64_t d = dictionary.info.d;
  std::vector<float> rows;
  for (const int32_t j : latents)
    rows.insert(rows.end(), dictionary.w_dec.begin() + j * d,
                dictionary.w_dec.begin() + (j + 1) * d);
  return rows;
}

}  // namespace assay::eval::spurious
