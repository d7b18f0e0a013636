#include "sae/dictionary.h"

#include <fmt/core.h>

#include <cmath>
#include <nlohmann/json.hpp>
#include <numeric>
#include <type_traits>

#include "data/base/atomic_file.h"
#include "data/base/json_file.h"
#include "data/base/memory_room.h"
#include "data/base/sha256.h"
#include "data/safetensors.h"
#include "kernels/base/error.h"
#include "kernels/primitives.h"
#include "kernels/sparse_decode.h"
#include "sae/blocks.h"
#include "sae/encodings.h"

namespace assay::sae {

namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;

constexpr const char* kFormat = "assay-dictionary";
constexpr int kVersion = 1;

Json to_json(const DictionaryInfo& info) {
  Json hooks = Json::array();
  for (const DictionaryHook& hook : info.hooks) {
    hooks.push_back({{"name", hook.name}, {"d", hook.d}, {"scale", hook.scale}});
  }
  return {{"format", kFormat},
          {"version", kVersion},
          {"variant", info.variant},
          {"d", info.d},
          {"n", info.n},
          {"k", info.k},
          {"model", info.model},
          {"revision", info.revision},
          {"hook", info.hook},
          {"scale", info.scale},
          {"data_hash", info.data_hash},
          {"split_rule", info.split_rule},
          {"tokens", info.tokens},
          {"seed", info.seed},
          {"setting", info.setting},
          {"null_kind", info.null_kind},
          {"encoding", info.encoding},
          {"d_out", info.width()},
          {"centred", info.centred},
          {"prefixes", info.prefixes},
          {"target", info.target},
          {"hooks", hooks},
          {"warnings", info.warnings}};
}

/// A member that must be there, of exactly the type of `into`.
template <class T>
void take(const Json& cfg, const char* key, T& into) {
  const auto found = cfg.find(key);
  if (found == cfg.end()) throw Error(fmt::format("'{}' is missing", key));
  const bool fits = std::is_same_v<T, std::string> ? found->is_string()
                    : std::is_floating_point_v<T>  ? found->is_number()
                    : std::is_unsigned_v<T>        ? found->is_number_unsigned()
                                                   : found->is_number_integer();
  const char* expected = std::is_same_v<T, std::string> ? "a text"
                         : std::is_floating_point_v<T>  ? "a number"
                         : std::is_unsigned_v<T>        ? "an integer from 0"
                                                        : "an integer";
  if (!fits)
    throw Error(fmt::format("'{}': expected {}, found {}", key, expected,
                            found->is_structured() ? found->type_name() : found->dump()));
  found->get_to(into);
}

DictionaryInfo from_json(const Json& cfg) {
  DictionaryInfo info;
  take(cfg, "variant", info.variant);
  take(cfg, "d", info.d);
  take(cfg, "n", info.n);
  take(cfg, "k", info.k);
  take(cfg, "model", info.model);
  take(cfg, "revision", info.revision);
  take(cfg, "hook", info.hook);
  take(cfg, "scale", info.scale);
  take(cfg, "data_hash", info.data_hash);
  take(cfg, "split_rule", info.split_rule);
  take(cfg, "tokens", info.tokens);
  take(cfg, "seed", info.seed);
  take(cfg, "null_kind", info.null_kind);
  if (cfg.contains("setting")) take(cfg, "setting", info.setting);
  // Absent from dictionaries written before there was more than one encoding: the variant's name
  // says it.
  info.encoding = cfg.value("encoding", info.variant);
  info.d_out = cfg.value("d_out", info.d);
  info.centred = cfg.value("centred", info.centred);
  info.prefixes = cfg.value("prefixes", info.prefixes);
  info.target = cfg.value("target", info.target);
  info.warnings = cfg.value("warnings", info.warnings);
  for (const Json& hook : cfg.value("hooks", Json::array())) {
    info.hooks.push_back({hook.at("name"), hook.at("d"), hook.at("scale")});
  }
  return info;
}

DictionaryInfo read_cfg(const fs::path& file) {
  const Json cfg = data::read_json_object(file, 1 << 20);
  if (cfg.value("format", Json()) != kFormat) {
    throw Error(fmt::format("{}: not an Assay dictionary; expected \"format\": \"{}\"",
                            file.string(), kFormat));
  }
  if (cfg.value("version", Json()) != kVersion) {
    throw Error(fmt::format("{}: dictionary format version {}, this build reads {}", file.string(),
                            cfg.value("version", Json()).dump(), kVersion));
  }
  try {
    return from_json(cfg);
  } catch (const Error& error) {
    throw Error(fmt::format("{}: {}", file.string(), error.what()));
  } catch (const Json::exception& error) {
    throw Error(
        fmt::format("{}: {}; write the dictionary anew", file.string(), data::plain_text(error)));
  }
}

void check(const DictionaryInfo& info, const fs::path& file) {
  if (!std::isfinite(info.scale) || info.scale <= 0)
    throw Error(
        fmt::format("{}: scale = {}: expected a positive number", file.string(), info.scale));
  constexpr int64_t kMost = int64_t{1} << 31;
  if (!find_encoding(info.encoding)) {
    throw Error(fmt::format("{}: encoding '{}' is unknown; this build reads: {}", file.string(),
                            info.encoding, encoding_names()));
  }
  if (info.d < 1 || info.n < 1 || info.d >= kMost || info.n >= kMost || info.k < 1 ||
      info.k > info.n) {
    throw Error(
        fmt::format("{}: d = {}, n = {}, k = {} do not fit: expected 1 ≤ d, 1 ≤ k ≤ n < 2^31",
                    file.string(), info.d, info.n, info.k));
  }
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

std::vector<float> weights(const data::TensorFile& tensors, const char* name,
                           const std::vector<int64_t>& shape) {
  std::vector<float> values = tensors.floats(name, shape);
  for (size_t i = 0; i < values.size(); ++i) {
    if (!std::isfinite(values[i])) {
      throw Error(
          fmt::format("{}: tensor '{}' has a value that is not finite at element {}; take the "
                      "dictionary of a run that did not diverge",
                      tensors.path.string(), name, i));
    }
  }
  return values;
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
  dictionary.info = read_cfg(folder / "cfg.json");
  check(dictionary.info, folder / "cfg.json");
  const DictionaryInfo& info = dictionary.info;
  const fs::path file = folder / "dictionary.safetensors";
  // As stored, and as loaded.
  if (std::error_code missing; fs::file_size(file, missing) > 0 && !missing) {
    data::require_room(2 * static_cast<int64_t>(fs::file_size(file)), "loading " + file.string(),
                       "free memory, or use a larger machine");
  }
  const data::TensorFile tensors = data::read_safetensors(file);
  dictionary.w_enc = weights(tensors, "W_enc", {info.n, info.d});
  dictionary.w_dec = weights(tensors, "W_dec", {info.n, info.width()});
  dictionary.b_enc = weights(tensors, "b_enc", {info.n});
  dictionary.b_dec = weights(tensors, "b_dec", {info.width()});
  std::vector<NeededTensor> needs = find_encoding(info.encoding)->needs;
  if (tensors.tensors.count("W_skip")) needs.push_back({"W_skip", "od"});
  for (const NeededTensor& needed : needs) {
    const std::vector<int64_t> shape = shape_of(needed.shape, info);
    dictionary.extra[needed.name] = {tensors.at(needed.name, shape).shape,
                                     weights(tensors, needed.name, shape)};
  }
  check_extra(dictionary, tensors.path);
  return dictionary;
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
  data::write_file_atomically(part / "cfg.json", to_json(info).dump(2) + "\n");
  fs::remove_all(folder);
  data::publish(part, folder);
}

std::string Dictionary::hash() const {
  std::string text = fmt::format("{} {} {} {}\n", info.variant, info.d, info.n, info.k);
  if (info.encoding != "topk" || !info.centred || info.width() != info.d) {
    text += fmt::format("{} {} {}\n", info.encoding, info.width(), info.centred ? "centred" : "");
  }
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

SparseCodes Dictionary::encode(Context& context, ConstMatrix x) const {
  if (x.cols != info.d) {
    throw UsageError(fmt::format("activations have d = {}, the dictionary was trained on d = {}",
                                 x.cols, info.d));
  }
  std::vector<float> centred;
  if (info.centred) {
    const Primitives& p = primitives(context.isa());
    centred.resize(x.rows * info.d);
    for (int64_t i = 0; i < x.rows; ++i)
      p.subtract(x.row(i), b_dec.data(), centred.data() + i * info.d, info.d);
    x = {centred.data(), x.rows, info.d};
  }
  SparseCodes codes;
  NumericFlag flag;
  find_encoding(info.encoding)->encode(context, *this, x, codes, flag);
  if (flag.raised())
    throw Error(
        fmt::format("row {} of the activations is not finite: cannot encode it", flag.row()));
  return codes;
}

void Dictionary::decode(Context& context, const SparseCodes& codes, Matrix out,
                        ConstMatrix x) const {
  if (needs_input() && (x.rows != out.rows || x.cols != info.d)) {
    throw UsageError(
        fmt::format("the variant {} reconstructs from the activations as well as from their codes "
                    "(W_skip): codes "
                    "alone cannot be decoded",
                    info.variant));
  }
  sparse_decode(context, codes, {w_dec.data(), info.n, info.width()}, b_dec.data(), out);
  if (needs_input())
    add_product(context, x, {extra.at("W_skip").values.data(), info.width(), info.d}, out);
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
  if (needs_input()) {
    std::vector<float>& skip = extra.at("W_skip").values;
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
    const double skipped = needs_input() ? product(&extra.at("W_skip").values[o * info.d], in) : 0;
    b_dec[o] += static_cast<float>(out[o] - skipped);
  }
}

}  // namespace assay::sae
