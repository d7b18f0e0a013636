#include "sae/gate.h"

#include <algorithm>
#include <cmath>

namespace assay::sae {

void open_gates(SparseCodes& codes, const float* b_gate, const float* r_mag, const float* b_mag) {
  for (int64_t p = 0; p < codes.pairs(); ++p) {
    const int32_t j = codes.indices[p];
    codes.values[p] = std::max(std::exp(r_mag[j]) * (codes.values[p] - b_gate[j]) + b_mag[j], 0.0f);
  }
}

}  // namespace assay::sae
