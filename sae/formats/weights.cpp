#include "sae/formats/weights.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "kernels/base/error.h"

namespace assay::sae::formats {

namespace {

/// values [rows, cols] → [cols, rows].
std::vector<float> transpose(const std::vector<float>& values, int64_t rows, int64_t cols) {
  constexpr int64_t kTile = 64;
  std::vector<float> result(values.size());
  for (int64_t i0 = 0; i0 < rows; i0 += kTile)
    for (int64_t j0 = 0; j0 < cols; j0 += kTile)
      for (int64_t i = i0; i < std::min(rows, i0 + kTile); ++i)
        for (int64_t j = j0; j < std::min(cols, j0 + kTile); ++j)
          result[static_cast<size_t>(j * rows + i)] = values[static_cast<size_t>(i * cols + j)];
  return result;
}

std::vector<float> read_matrix(const Source& source, const Placed& placed, int64_t rows,
                               int64_t cols) {
  return placed.transposed ? source.tensors.transposed(placed.name, {cols, rows})
                           : source.tensors.floats(placed.name, {rows, cols});
}

}  // namespace

Dictionary read_weights(const Source& source, const Layout& layout) {
  const std::vector<int64_t>& enc = source.tensors.at(layout.w_enc.name, {-1, -1}).shape;
  const std::vector<int64_t>& dec = source.tensors.at(layout.w_dec.name, {-1, -1}).shape;
  Dictionary result;
  DictionaryInfo& info = result.info;
  info.n = enc[layout.w_enc.transposed ? 1 : 0];
  info.d = enc[layout.w_enc.transposed ? 0 : 1];
  info.d_out = dec[layout.w_dec.transposed ? 0 : 1];
  info.k = 0;
  info.centred = false;
  if (info.n < 1 || info.d < 1 || info.d_out < 1) {
    throw Error(fmt::format("{}: '{}' and '{}' are empty", source.tensors.path.string(),
                            layout.w_enc.name, layout.w_dec.name));
  }
  result.w_enc = read_matrix(source, layout.w_enc, info.n, info.d);
  result.w_dec = read_matrix(source, layout.w_dec, info.n, info.d_out);
  result.b_enc.resize(static_cast<size_t>(info.n));
  result.b_dec.resize(static_cast<size_t>(info.d_out));
  if (layout.b_enc != nullptr) result.b_enc = read_vector(source, layout.b_enc, info.n);
  if (layout.b_dec != nullptr) result.b_dec = read_vector(source, layout.b_dec, info.d_out);
  return result;
}

std::vector<float> read_vector(const Source& source, const std::string& name, int64_t size) {
  return source.tensors.floats(name, {size});
}

double read_number(const Source& source, const std::string& name) {
  const auto found = source.tensors.tensors.find(name);
  if (found == source.tensors.tensors.end() || found->second.elements() != 1)
    throw Error(
        fmt::format("{}: expected tensor '{}' of one element", source.tensors.path.string(), name));
  const std::vector<int64_t>& shape = found->second.shape;
  return found->second.is_float() ? static_cast<double>(source.tensors.floats(name, shape)[0])
                                  : static_cast<double>(source.tensors.integers(name, shape)[0]);
}

void activate_by_relu(Dictionary& dictionary) {
  activate_by_threshold(dictionary, std::vector<float>(static_cast<size_t>(dictionary.info.n)));
  dictionary.info.variant = "relu";
}

void activate_by_threshold(Dictionary& dictionary, std::vector<float> threshold) {
  for (float& value : threshold) value = std::max(value, 0.0f);
  dictionary.info.encoding = "threshold";
  dictionary.info.variant = "jumprelu";
  dictionary.extra["threshold"] = {{dictionary.info.n}, std::move(threshold)};
}

void activate_by_topk(Dictionary& dictionary, const Source& source, int64_t k) {
  if (k < 1 || k > dictionary.info.n) {
    const auto& file = source.config.empty() ? source.tensors.path : source.config.file();
    throw Error(
        fmt::format("{}: k = {}: expected 1 to n = {}", file.string(), k, dictionary.info.n));
  }
  dictionary.info.encoding = dictionary.info.variant = "topk";
  dictionary.info.k = k;
}

void activate_by_gate(Dictionary& dictionary, const Source& source, const char* b_gate,
                      const char* r_mag, const char* b_mag) {
  const int64_t n = dictionary.info.n;
  dictionary.info.encoding = dictionary.info.variant = "gated";
  dictionary.b_enc = read_vector(source, b_gate, n);
  dictionary.extra["r_mag"] = {{n}, read_vector(source, r_mag, n)};
  dictionary.extra["b_mag"] = {{n}, read_vector(source, b_mag, n)};
}

void add_skip(Dictionary& dictionary, const Source& source, const Placed& skip) {
  const int64_t out = dictionary.info.width(), in = dictionary.info.d;
  dictionary.extra["W_skip"] = {{out, in}, read_matrix(source, skip, out, in)};
}

void fold_scales(Dictionary& dictionary, double in, double out) {
  const auto units = [](int64_t d, double scale) {
    return Units{std::vector<float>(static_cast<size_t>(d)),
                 std::vector<double>(static_cast<size_t>(d), scale), false};
  };
  dictionary.fold(units(dictionary.info.d, in), units(dictionary.info.width(), out));
}

void rescale_latents(Dictionary& dictionary, const std::vector<double>& scale) {
  const int64_t d = dictionary.info.d, width = dictionary.info.width();
  const auto times = [](float value, double factor) { return static_cast<float>(value * factor); };
  for (int64_t j = 0; j < dictionary.info.n; ++j) {
    const double s = scale[static_cast<size_t>(j)];
    for (int64_t c = 0; c < d; ++c)
      dictionary.w_enc[j * d + c] = times(dictionary.w_enc[j * d + c], s);
    for (int64_t c = 0; c < width; ++c)
      dictionary.w_dec[j * width + c] = times(dictionary.w_dec[j * width + c], 1 / s);
    dictionary.b_enc[j] = times(dictionary.b_enc[j], s);
    for (const char* name : {"threshold", "b_mag"}) {
      const auto found = dictionary.extra.find(name);
      if (found != dictionary.extra.end())
        found->second.values[j] = times(found->second.values[j], s);
    }
  }
}

std::vector<double> decoder_norms(const Dictionary& dictionary) {
  const int64_t width = dictionary.info.width();
  std::vector<double> norms;
  for (int64_t j = 0; j < dictionary.info.n; ++j) {
    double squares = 0;
    for (int64_t c = 0; c < width; ++c)
      squares +=
          static_cast<double>(dictionary.w_dec[j * width + c]) * dictionary.w_dec[j * width + c];
    norms.push_back(std::sqrt(squares));
  }
  return norms;
}

void name_hooks(Dictionary& dictionary, const std::string& model, const std::string& hook,
                const std::string& target) {
  DictionaryInfo& info = dictionary.info;
  info.model = model;
  info.hook = hook;
  info.target = target;
  if (!is_transcoder(dictionary)) return;
  if (info.target.empty()) info.target = "output";
  info.variant = dictionary.extra.count("W_skip") > 0 ? "skip_transcoder" : "transcoder";
}

bool is_transcoder(const Dictionary& dictionary) {
  return !dictionary.info.target.empty() || dictionary.info.width() != dictionary.info.d;
}

std::vector<float> encoder_bias(const Dictionary& dictionary, bool centred) {
  std::vector<float> bias = dictionary.b_enc;
  if (centred == dictionary.info.centred) return bias;
  const int64_t d = dictionary.info.d;
  for (int64_t j = 0; j < dictionary.info.n; ++j) {
    double dot = 0;
    for (int64_t c = 0; c < d; ++c)
      dot += static_cast<double>(dictionary.w_enc[j * d + c]) * dictionary.b_dec[c];
    bias[j] = static_cast<float>(bias[j] + (centred ? dot : -dot));
  }
  return bias;
}

std::optional<float> uniform_threshold(const Dictionary& dictionary) {
  const std::vector<float>& values = dictionary.extra.at("threshold").values;
  const bool same =
      std::all_of(values.begin(), values.end(), [&](float v) { return v == values[0]; });
  return same ? std::optional(values[0]) : std::nullopt;
}

void Tensors::add(const std::string& name, const char* dtype, std::vector<int64_t> shape,
                  const void* data, size_t bytes) {
  views_[name] = {dtype, std::move(shape), data, bytes};
}

void Tensors::view(const std::string& name, const std::vector<float>& values,
                   std::vector<int64_t> shape) {
  add(name, "F32", std::move(shape), values.data(), values.size() * sizeof(float));
}

void Tensors::own(const std::string& name, std::vector<float> values, std::vector<int64_t> shape) {
  floats_.push_back(std::move(values));
  view(name, floats_.back(), std::move(shape));
}

void Tensors::own(const std::string& name, std::vector<int32_t> values,
                  std::vector<int64_t> shape) {
  ints_.push_back(std::move(values));
  add(name, "I32", std::move(shape), ints_.back().data(), ints_.back().size() * sizeof(int32_t));
}

void Tensors::own(const std::string& name, std::vector<int64_t> values,
                  std::vector<int64_t> shape) {
  longs_.push_back(std::move(values));
  add(name, "I64", std::move(shape), longs_.back().data(), longs_.back().size() * sizeof(int64_t));
}

void Tensors::place(const Placed& placed, const std::vector<float>& values, int64_t rows,
                    int64_t cols) {
  if (!placed.transposed) return view(placed.name, values, {rows, cols});
  own(placed.name, transpose(values, rows, cols), {cols, rows});
}

Tensors write_weights(const Dictionary& dictionary, const Layout& layout, bool centred) {
  const DictionaryInfo& info = dictionary.info;
  Tensors tensors;
  tensors.place(layout.w_enc, dictionary.w_enc, info.n, info.d);
  tensors.place(layout.w_dec, dictionary.w_dec, info.n, info.width());
  if (layout.b_enc != nullptr)
    tensors.own(layout.b_enc, encoder_bias(dictionary, centred), {info.n});
  if (layout.b_dec != nullptr) tensors.view(layout.b_dec, dictionary.b_dec, {info.width()});
  return tensors;
}

void cannot_hold(const char* format, const std::string& what) {
  throw Error(fmt::format("{} cannot hold {}: choose another (assay export --help lists them)",
                          format, what));
}

void require_plain(const char* format, const Dictionary& dictionary, bool skip) {
  const DictionaryInfo& info = dictionary.info;
  if (!info.hooks.empty())
    cannot_hold(format, fmt::format("a dictionary of {} hooks", info.hooks.size()));
  if (info.input_norm != "none") cannot_hold(format, "rows normalised by " + info.input_norm);
  if (dictionary.extra.count("rank_scale") > 0) cannot_hold(format, "latents ranked by a scale");
  if (!skip && dictionary.extra.count("W_skip") > 0)
    cannot_hold(format, "a skip connection (W_skip)");
}

}  // namespace assay::sae::formats
