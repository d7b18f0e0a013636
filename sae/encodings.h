// How a published dictionary encodes: one entry a rule, named by `encoding` in cfg.json.
#pragma once

#include <string>
#include <vector>

#include "kernels/base/context.h"
#include "kernels/base/numeric_flag.h"
#include "kernels/base/view.h"
#include "kernels/sparse_codes.h"
#include "sae/dictionary.h"

namespace assay::sae {

/// A tensor an encoding needs besides the four common ones. Its shape is spelt n (latents), d
/// (width encoded), o (width reconstructed), * (any extent).
struct NeededTensor {
  const char* name;
  const char* shape;
  bool optional = false;  ///< read where the file holds it
};

struct Encoding {
  const char* name;
  bool takes_k;
  std::vector<NeededTensor> needs;
  /// x [B, d], centred where the dictionary says so → codes, values ReLU'd.
  void (*encode)(Context& context, const Dictionary& dictionary, ConstMatrix x, SparseCodes& out,
                 NumericFlag& flag);
};

/// Null where there is no such encoding.
const Encoding* find_encoding(const std::string& name);
/// "topk, threshold, …" for messages.
std::string encoding_names();

}  // namespace assay::sae
