#include "sae/formats/refused.h"

#include <fmt/format.h>

#include <algorithm>

#include "kernels/base/error.h"

namespace assay::sae::formats {

namespace {

bool any_name(const Source& source, const char* begin) {
  const auto& tensors = source.tensors.tensors;
  const auto found = tensors.lower_bound(begin);
  return found != tensors.end() && found->first.rfind(begin, 0) == 0;
}

/// One of the layers of a cross-layer transcoder: a tensor with the layer's number in its name, or
/// a decoder to several layers.
bool is_cross_layer(const Source& source) {
  for (const char* name : {"W_dec", "W_D", "w_dec"})
    if (source.rank(name) == 3) return true;
  return any_name(source, "W_enc_") || any_name(source, "W_dec_");
}

}  // namespace

void refuse_known(const Source& source) {
  const auto refuse = [&](const char* what) {
    throw Error(
        fmt::format("{}: {}, which has no Assay dictionary", source.tensors.path.string(), what));
  };
  if (any_name(source, "attn_layers.") || source.has({"D", "b"}))
    refuse("a TemporalSAE (attention over earlier tokens)");
  if (is_cross_layer(source)) refuse("a cross-layer transcoder (decoders to several layers)");
  if (any_name(source, "W_E_glu")) refuse("an encoder with a gated linear unit (W_E_glu)");
  const std::string type = source.config.text("sae_type");
  if (type == "lorsa") refuse("a Lorsa (sparse attention)");
  if (type == "molt") refuse("a MOLT (mixture of linear transforms)");
  if (type == "clt") refuse("a cross-layer transcoder (decoders to several layers)");
  if (type == "crosscoder") refuse("a Llamascopium crosscoder");
}

}  // namespace assay::sae::formats
