#include "sae/dictionary.h"

#include <fmt/core.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <numeric>

#include "data/base/atomic_file.h"
#include "data/base/memory_room.h"
#include "data/base/sha256.h"
#include "data/safetensors.h"
#include "kernels/base/error.h"
#include "kernels/primitives.h"
#include "kernels/sparse_decode.h"
#include "sae/blocks.h"
#include "sae/dictionary_info.h"
#include "sae/encodings.h"
#include "sae/input_norm.h"

namespace assay::sae {

namespace {

namespace fs = std::filesystem;

/// What `work` returns; its Error with the file in front.
template <class Work>
auto in_file(const fs::path& file, const Work& work) {
  try {
    return work();
  } catch (const Error& error) {
    throw Error(fmt::format("{}: {}", file.string(), error.what()));
  }
}

/// Before anything of that size is read.
void check_info(const DictionaryInfo& info, const fs::path& file) {
  if (!std::isfinite(info.scale) || info.scale <= 0)
    throw Error(
        fmt::format("{}: scale = {}: expected a positive number", file.string(), info.scale));
  constexpr int64_t kMost = int64_t{1} << 31;
  if (!find_encoding(info.encoding)) {
    throw Error(fmt::format("{}: encoding '{}' is unknown; this build reads: {}", file.string(),
                            info.encoding, encoding_names()));
  }
  const int64_t least_k = find_encoding(info.encoding)->takes_k ? 1 : 0;
  if (info.d < 1 || info.n < 1 || info.d >= kMost || info.n >= kMost || info.k < least_k ||
      info.k > info.n) {
    throw Error(
        fmt::format("{}: d = {}, n = {}, k = {} do not fit: expected 1 ≤ d, {} ≤ k ≤ n < 2^31",
                    file.string(), info.d, info.n, info.k, least_k));
  }
  if (info.encoding == "group_max" && info.n % info.k != 0) {
    throw Error(fmt::format("{}: n = {} latents cannot be cut into k = {} equal groups",
                            file.string(), info.n, info.k));
  }
  const InputNorm norm = in_file(file, [&] { return parse_input_norm(info.input_norm); });
  if (info.restores_norm && (norm == InputNorm::none || info.d_out != info.d)) {
    throw Error(fmt::format(
        "{}: restores_norm with input_norm '{}' and d_out = {}: it needs a normalisation and "
        "d_out = d = {}",
        file.string(), info.input_norm, info.d_out, info.d));
  }
  if (norm == InputNorm::layer_norm && info.d < 2)
    throw Error(fmt::format("{}: layer_norm of d = 1 column", file.string()));
  if (info.d_out < 1 || info.d_out >= kMost || (info.centred && info.d_out != info.d)) {
    throw Error(fmt::format(
        "{}: d_out = {} does not fit d = {} (equal where b_dec is subtracted: \"centred\")",
        file.string(), info.d_out, info.d));
  }
  int64_t width = 0;
  for (const DictionaryHook& hook : info.hooks) {
    const bool fits = hook.d >= 1 && hook.d <= info.d - width;
    width = fits ? width + hook.d : info.d + 1;
  }
  if (!info.hooks.empty() && width != info.d) {
    throw Error(
        fmt::format("{}: the hooks' widths do not add up to d = {}", file.string(), info.d));
  }
  int64_t before = 0;
  for (const int64_t end : info.prefixes) {
    if (end <= before || end > info.n) {
      throw Error(
          fmt::format("{}: prefixes must rise to n = {}, found {}", file.string(), info.n, end));
    }
    before = end;
  }
}

std::vector<int64_t> shape_of(const char* spelt, const DictionaryInfo& info) {
  std::vector<int64_t> shape;
  for (; *spelt; ++spelt) {
    shape.push_back(*spelt == 'n'   ? info.n
                    : *spelt == 'd' ? info.d
                    : *spelt == 'o' ? info.width()
                                    : -1);
  }
  return shape;
}

/// The first value that is not finite, or -1.
int64_t first_not_finite(const std::vector<float>& values) {
  constexpr size_t kBlock = 4096;  // without a branch inside, so that the compiler takes vectors
  for (size_t begin = 0; begin < values.size(); begin += kBlock) {
    const size_t end = std::min(values.size(), begin + kBlock);
    uint32_t found = 0;
    for (size_t i = begin; i < end; ++i) {
      constexpr uint32_t kExponent = 0x7f800000;
      found |= (std::bit_cast<uint32_t>(values[i]) & kExponent) == kExponent;
    }
    if (found == 0) continue;
    for (size_t i = begin; i < end; ++i)
      if (!std::isfinite(values[i])) return static_cast<int64_t>(i);
  }
  return -1;
}

void check_finite(const char* name, const std::vector<float>& values, const fs::path& file) {
  const int64_t bad = first_not_finite(values);
  if (bad < 0) return;
  throw Error(
      fmt::format("{}: tensor '{}' has a value that is not finite at element {}; take the "
                  "dictionary of a run that did not diverge",
                  file.string(), name, bad));
}

void check_extra(const Dictionary& dictionary, const fs::path& file) {
  const auto& extra = dictionary.extra;
  if (const auto found = extra.find("threshold"); found != extra.end()) {
    for (size_t j = 0; j < found->second.values.size(); ++j) {
      if (found->second.values[j] < 0) {
        throw Error(
            fmt::format("{}: tensor 'threshold' is negative at element {}; thresholds are ≥ 0",
                        file.string(), j));
      }
    }
  }
  if (const auto found = extra.find("rank_scale"); found != extra.end()) {
    const auto& values = found->second.values;
    if (std::any_of(values.begin(), values.end(), [](float v) { return !(v > 0); })) {
      throw Error(fmt::format("{}: tensor 'rank_scale' is not positive everywhere", file.string()));
    }
  }
  if (const auto found = extra.find("router"); found != extra.end()) {
    const int64_t experts = found->second.shape[0], n = dictionary.info.n;
    if (experts < 1 || n % experts != 0 || dictionary.info.k > n / experts ||
        extra.at("router_bias").shape[0] != experts) {
      throw Error(fmt::format(
          "{}: tensor 'router' has {} experts, 'router_bias' {}: they must be equal, divide n = "
          "{}, "
          "and leave each expert k = {} latents",
          file.string(), experts, extra.at("router_bias").shape[0], n, dictionary.info.k));
    }
  }
}

}  // namespace

fs::path dictionary_folder(const fs::path& path) {
  if (fs::exists(path / "cfg.json")) return path;
  if (fs::exists(path / "dictionary" / "cfg.json")) return path / "dictionary";
  throw Error(
      fmt::format("{}: no dictionary here (expected cfg.json and dictionary.safetensors, or a run "
                  "folder with dictionary/)",
                  path.string()));
}

Dictionary Dictionary::load(const fs::path& path) {
  const fs::path folder = dictionary_folder(path);
  Dictionary dictionary;
  dictionary.info = read_info(folder / "cfg.json");
  check_info(dictionary.info, folder / "cfg.json");
  const DictionaryInfo& info = dictionary.info;
  const fs::path file = folder / "dictionary.safetensors";
  if (std::error_code missing; fs::file_size(file, missing) > 0 && !missing) {
    data::require_room(static_cast<int64_t>(fs::file_size(file)), "loading " + file.string(),
                       "free memory, or use a larger machine");
  }
  const data::TensorFile tensors = data::read_safetensors(file);
  dictionary.w_enc = tensors.floats("W_enc", {info.n, info.d});
  dictionary.w_dec = tensors.floats("W_dec", {info.n, info.width()});
  dictionary.b_enc = tensors.floats("b_enc", {info.n});
  dictionary.b_dec = tensors.floats("b_dec", {info.width()});
  for (const NeededTensor& needed : find_encoding(info.encoding)->needs) {
    const std::vector<int64_t> shape = shape_of(needed.shape, info);
    if (needed.optional && !tensors.has(needed.name)) continue;
    dictionary.extra[needed.name] = {tensors.at(needed.name, shape).shape,
                                     tensors.floats(needed.name, shape)};
  }
  dictionary.check(tensors.path);
  return dictionary;
}

void Dictionary::check(const fs::path& where) const {
  check_info(info, where);
  check_finite("W_enc", w_enc, where);
  check_finite("W_dec", w_dec, where);
  check_finite("b_enc", b_enc, where);
  check_finite("b_dec", b_dec, where);
  for (const auto& [name, tensor] : extra) check_finite(name.c_str(), tensor.values, where);
  check_extra(*this, where);
}

void Dictionary::save(const fs::path& folder) const {
  const fs::path part = folder.string() + ".part";
  fs::remove_all(part);
  data::make_folder(part);
  std::map<std::string, data::TensorView> tensors{
      {"W_enc", data::view_of(w_enc, {info.n, info.d})},
      {"W_dec", data::view_of(w_dec, {info.n, info.width()})},
      {"b_enc", data::view_of(b_enc, {info.n})},
      {"b_dec", data::view_of(b_dec, {info.width()})}};
  for (const auto& [name, tensor] : extra)
    tensors[name] = data::view_of(tensor.values, tensor.shape);
  data::write_safetensors(tensors, part / "dictionary.safetensors");
  write_info(info, part / "cfg.json");
  fs::remove_all(folder);
  data::publish(part, folder);
}

std::string Dictionary::hash() const {
  std::string text = fmt::format("{} {} {} {}\n", info.variant, info.d, info.n, info.k);
  if (info.encoding != "topk" || !info.centred || info.width() != info.d) {
    text += fmt::format("{} {} {}\n", info.encoding, info.width(), info.centred ? "centred" : "");
  }
  if (info.input_norm != "none")
    text += fmt::format("{} {}\n", info.input_norm, info.restores_norm ? "restored" : "");
  data::Sha256 sum;
  sum.add(text.data(), text.size());
  const auto add = [&](const std::vector<float>& values) {
    sum.add(values.data(), values.size() * sizeof(float));
  };
  for (const auto* tensor : {&w_enc, &w_dec, &b_enc, &b_dec}) add(*tensor);
  for (const auto& [name, tensor] : extra) {
    sum.add(name.data(), name.size());
    add(tensor.values);
  }
  return sum.hex();
}

/// The rows as the encoder sees them: normalised, and centred where the dictionary says so.
ConstMatrix Dictionary::prepared(Context& context, ConstMatrix x,
                                 std::vector<float>& buffer) const {
  const InputNorm norm = parse_input_norm(info.input_norm);
  if (!info.centred && norm == InputNorm::none) return x;
  const Primitives& p = primitives(context.isa());
  buffer.resize(static_cast<size_t>(x.rows * info.d));
  for (int64_t i = 0; i < x.rows; ++i) {
    float* row = buffer.data() + i * info.d;
    const float* from = x.row(i);
    if (norm != InputNorm::none) {
      normalise(norm, from, row, info.d);
      from = row;
    }
    if (info.centred) p.subtract(from, b_dec.data(), row, info.d);
  }
  return {buffer.data(), x.rows, info.d};
}

SparseCodes Dictionary::encode(Context& context, ConstMatrix x) const {
  if (x.cols != info.d) {
    throw UsageError(fmt::format("activations have d = {}, the dictionary was trained on d = {}",
                                 x.cols, info.d));
  }
  std::vector<float> buffer;
  SparseCodes codes;
  NumericFlag flag;
  find_encoding(info.encoding)->encode(context, *this, prepared(context, x, buffer), codes, flag);
  if (flag.raised()) {
    throw Error(fmt::format(
        "row {} of the activations is not finite{}: cannot encode it", flag.row(),
        info.input_norm == "none" ? "" : ", or has no length or spread to be normalised by"));
  }
  return codes;
}

void Dictionary::decode(Context& context, const SparseCodes& codes, Matrix out,
                        ConstMatrix x) const {
  if (needs_input() && (x.rows != out.rows || x.cols != info.d)) {
    throw UsageError(
        fmt::format("the variant {} reconstructs from the activations as well as from their codes "
                    "({}): codes alone cannot be decoded",
                    info.variant, info.restores_norm ? info.input_norm : "W_skip"));
  }
  sparse_decode(context, codes, {w_dec.data(), info.n, info.width()}, b_dec.data(), out);
  if (info.restores_norm) {
    const InputNorm norm = parse_input_norm(info.input_norm);
    for (int64_t i = 0; i < out.rows; ++i) undo_normalise(norm, x.row(i), info.d, out.row(i));
  }
  if (const auto skip = extra.find("W_skip"); skip != extra.end())
    add_product(context, x, {skip->second.values.data(), info.width(), info.d}, out);
}

void Dictionary::fold(const Units& units_in, const Units& units_out) {
  const std::vector<float> in(units_in.scale.begin(), units_in.scale.end()),
      out(units_out.scale.begin(), units_out.scale.end());
  for (int64_t j = 0; j < info.n; ++j) {
    for (int64_t c = 0; c < info.d; ++c) w_enc[j * info.d + c] *= in[c];
    for (int64_t c = 0; c < info.width(); ++c) w_dec[j * info.width() + c] /= out[c];
  }
  for (int64_t c = 0; c < info.width(); ++c) b_dec[c] /= out[c];
  if (const auto router = extra.find("router"); router != extra.end()) {
    for (size_t i = 0; i < router->second.values.size(); ++i)
      router->second.values[i] *= in[i % info.d];
  }
  if (const auto found = extra.find("W_skip"); found != extra.end()) {
    std::vector<float>& skip = found->second.values;
    for (int64_t o = 0; o < info.width(); ++o) {
      for (int64_t c = 0; c < info.d; ++c) skip[o * info.d + c] *= in[c] / out[o];
    }
  }
  if (units_in.centred || units_out.centred) move(units_in.shift, units_out.shift);
}

/// From weights that take x − in and give y − out to those that take x and give y.
void Dictionary::move(const std::vector<float>& in, const std::vector<float>& out) {
  const auto product = [](const float* row, const std::vector<float>& v) {
    return std::inner_product(v.begin(), v.end(), row, 0.0);
  };
  if (!info.centred) {
    // W(x − μ) + b = W(x − (μ + b_dec)) + b + W·b_dec
    const bool same = in == out;
    for (int64_t j = 0; j < info.n; ++j) {
      const float* row = w_enc.data() + j * info.d;
      b_enc[j] += static_cast<float>(same ? product(row, b_dec) : -product(row, in));
    }
    info.centred = same;
  }
  for (int64_t o = 0; o < info.width(); ++o) {
    const double skipped =
        extra.count("W_skip") > 0 ? product(&extra.at("W_skip").values[o * info.d], in) : 0;
    b_dec[o] += static_cast<float>(out[o] - skipped);
  }
}

}  // namespace assay::sae
