#include "sae/encodings.h"

#include <fmt/core.h>

#include <algorithm>

#include "kernels/encode_threshold.h"
#include "kernels/encode_topk.h"
#include "kernels/screen_copy.h"
#include "sae/gate.h"
#include "sae/pursuit.h"
#include "sae/route.h"

namespace assay::sae {

namespace {

/// The encoder of a dictionary with its screening copy.
struct Screened {
  ConstMatrix w;
  ScreenCopy screen;
  const float* bias;

  Screened(Context& context, const Dictionary& d)
      : w(d.w_enc.data(), d.info.n, d.info.d), screen(d.info.n, d.info.d), bias(d.b_enc.data()) {
    screen.refresh(context, w);
  }
  Encoder encoder() const { return {w, bias, &screen}; }
};

void encode_by_topk(Context& context, const Dictionary& d, ConstMatrix x, SparseCodes& out,
                    NumericFlag& flag) {
  const Screened screened(context, d);
  encode_topk(context, x, screened.encoder(), d.info.k, out, flag);
  for (float& value : out.values) value = std::max(value, 0.0f);
}

void encode_by_threshold(Context& context, const Dictionary& d, ConstMatrix x, SparseCodes& out,
                         NumericFlag& flag) {
  const Screened screened(context, d);
  encode_threshold(context, x, screened.encoder(), d.extra.at("threshold").values.data(), 0, out,
                   nullptr, flag);
}

void encode_by_gate(Context& context, const Dictionary& d, ConstMatrix x, SparseCodes& out,
                    NumericFlag& flag) {
  const Screened screened(context, d);
  const std::vector<float> zero(d.info.n);
  encode_threshold(context, x, screened.encoder(), zero.data(), 0, out, nullptr, flag);
  open_gates(out, d.b_enc.data(), d.extra.at("r_mag").values.data(),
             d.extra.at("b_mag").values.data());
}

void encode_by_route(Context& context, const Dictionary& d, ConstMatrix x, SparseCodes& out,
                     NumericFlag& flag) {
  const NamedTensor& router = d.extra.at("router");
  const ConstMatrix w(router.values.data(), router.shape[0], d.info.d);
  const Routes routes = route(context, x, {w, d.extra.at("router_bias").values.data()}, flag);
  if (flag.raised()) return;
  const ConstMatrix encoder(d.w_enc.data(), d.info.n, d.info.d);
  encode_routed(context, x, encoder, d.b_enc.data(), routes, d.info.k, out, flag);
}

void encode_by_pursuit(Context& context, const Dictionary& d, ConstMatrix x, SparseCodes& out,
                       NumericFlag& flag) {
  const Screened screened(context, d);
  Pursuit pursuit;
  pursue(context, x, screened.encoder(), {d.w_dec.data(), d.info.n, d.info.width()}, d.info.k,
         pursuit, out, flag);
}

const std::vector<Encoding>& encodings() {
  static const std::vector<Encoding> all{
      {"topk", {}, encode_by_topk},
      {"threshold", {{"threshold", "n"}}, encode_by_threshold},
      {"gated", {{"r_mag", "n"}, {"b_mag", "n"}}, encode_by_gate},
      {"switch", {{"router", "*d"}, {"router_bias", "*"}}, encode_by_route},
      {"matching_pursuit", {}, encode_by_pursuit}};
  return all;
}

}  // namespace

const Encoding* find_encoding(const std::string& name) {
  for (const Encoding& encoding : encodings()) {
    if (encoding.name == name) return &encoding;
  }
  return nullptr;
}

std::string encoding_names() {
  std::string names;
  for (const Encoding& encoding : encodings())
    names += fmt::format("{}{}", names.empty() ? "" : ", ", encoding.name);
  return names;
}

}  // namespace assay::sae
