// sparse_decode: reconstructions from codes, touching active latents only.
#pragma once

#include "kernels/base/context.h"
#include "kernels/base/view.h"
#include "kernels/sparse_codes.h"

namespace assay {

/// out[i] = bias + Σ_p values[p]·w_dec[indices[p]] over row i's pairs, added in pair order in fp32
/// (one fused multiply-add a term: the same bits on any number of threads and any instruction set).
/// w_dec [n, d], bias [d] or null (zero), out [B, d] must not alias the inputs. Pairs of value 0
/// are skipped. NaN in values or weights goes through to the row. Throws UsageError where shapes do
/// not fit.
void sparse_decode(Context& context, const SparseCodes& codes, ConstMatrix w_dec, const float* bias,
                   Matrix out);

}  // namespace assay
