#include "sae/encodings.h"

#include <fmt/core.h>

#include <algorithm>

#include "kernels/encode_batch_topk.h"
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

const float* rank_scale(const Dictionary& d) {
  const auto found = d.extra.find("rank_scale");
  return found == d.extra.end() ? nullptr : found->second.values.data();
}

void rectify(SparseCodes& codes) {
  for (float& value : codes.values) value = std::max(value, 0.0f);
}

void encode_by_topk(Context& context, const Dictionary& d, ConstMatrix x, SparseCodes& out,
                    NumericFlag& flag) {
  const Screened screened(context, d);
  Encoder encoder = screened.encoder();
  encoder.rank_scale = rank_scale(d);
  encode_topk(context, x, encoder, d.info.k, out, flag);
  rectify(out);
}

void encode_by_batch(Context& context, const Dictionary& d, ConstMatrix x, SparseCodes& out,
                     NumericFlag& flag) {
  if (x.rows == 0) return encode_by_topk(context, d, x, out, flag);
  const Screened screened(context, d);
  Encoder encoder = screened.encoder();
  encoder.rank_scale = rank_scale(d);
  encode_batch_topk(context, x, encoder, d.info.k * x.rows, out, flag);
}

/// The best of each group by itself, then row by row one behind another.
void encode_by_group(Context& context, const Dictionary& d, ConstMatrix x, SparseCodes& out,
                     NumericFlag& flag) {
  const int64_t k = d.info.k, size = d.info.n / k;
  out.row_offsets.resize(static_cast<size_t>(x.rows) + 1);
  for (int64_t i = 0; i <= x.rows; ++i) out.row_offsets[i] = i * k;
  out.indices.resize(static_cast<size_t>(x.rows * k));
  out.values.resize(static_cast<size_t>(x.rows * k));
  for (int64_t g = 0; g < k; ++g) {
    const ConstMatrix w(d.w_enc.data() + g * size * d.info.d, size, d.info.d);
    ScreenCopy screen(size, d.info.d);
    screen.refresh(context, w);
    SparseCodes best;
    encode_topk(context, x, {w, d.b_enc.data() + g * size, &screen}, 1, best, flag);
    for (int64_t i = 0; i < x.rows; ++i) {
      out.indices[i * k + g] = static_cast<int32_t>(g * size) + best.indices[i];
      out.values[i * k + g] = best.values[i];
    }
  }
  rectify(out);
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
  static const NeededTensor skip{"W_skip", "od", true}, ranks{"rank_scale", "n", true};
  static const std::vector<Encoding> all{
      {"topk", true, {skip, ranks}, encode_by_topk},
      {"threshold", false, {{"threshold", "n"}, skip}, encode_by_threshold},
      {"gated", false, {{"r_mag", "n"}, {"b_mag", "n"}, skip}, encode_by_gate},
      {"switch", true, {{"router", "*d"}, {"router_bias", "*"}, skip}, encode_by_route},
      {"matching_pursuit", true, {skip}, encode_by_pursuit},
      {"group_max", true, {skip}, encode_by_group},
      {"batch_topk", true, {skip, ranks}, encode_by_batch}};
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
