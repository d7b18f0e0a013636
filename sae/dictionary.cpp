#include "sae/dictionary.h"

#include <fmt/core.h>

#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>

#include "data/atomic_file.h"
#include "data/safetensors.h"
#include "data/sha256.h"
#include "kernels/encode_topk.h"
#include "kernels/error.h"
#include "kernels/primitives.h"
#include "kernels/sparse_decode.h"

namespace assay::sae {

namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;

constexpr const char* kFormat = "assay-dictionary";
constexpr int kVersion = 1;

Json to_json(const DictionaryInfo& info) {
  return {
      {"format", kFormat},     {"version", kVersion}, {"variant", info.variant},     {"d", info.d},
      {"n", info.n},           {"k", info.k},         {"model", info.model},         {"revision", info.revision},
      {"hook", info.hook},     {"scale", info.scale}, {"data_hash", info.data_hash}, {"split_rule", info.split_rule},
      {"tokens", info.tokens}, {"seed", info.seed},   {"null_kind", info.null_kind}};
}

DictionaryInfo from_json(const Json& cfg) {
  DictionaryInfo info;
  cfg.at("variant").get_to(info.variant);
  cfg.at("d").get_to(info.d);
  cfg.at("n").get_to(info.n);
  cfg.at("k").get_to(info.k);
  cfg.at("model").get_to(info.model);
  cfg.at("revision").get_to(info.revision);
  cfg.at("hook").get_to(info.hook);
  cfg.at("scale").get_to(info.scale);
  cfg.at("data_hash").get_to(info.data_hash);
  cfg.at("split_rule").get_to(info.split_rule);
  cfg.at("tokens").get_to(info.tokens);
  cfg.at("seed").get_to(info.seed);
  cfg.at("null_kind").get_to(info.null_kind);
  return info;
}

DictionaryInfo read_cfg(const fs::path& file) {
  std::ifstream in(file);
  if (!in) throw Error(fmt::format("{}: cannot open the dictionary's configuration", file.string()));
  if (fs::file_size(file) > (1 << 20)) throw Error(fmt::format("{}: larger than 1 MiB", file.string()));
  const Json cfg = Json::parse(in, nullptr, /*allow_exceptions=*/false);
  if (!cfg.is_object() || cfg.value("format", Json()) != kFormat) {
    throw Error(fmt::format("{}: not an Assay dictionary (no \"format\": \"{}\")", file.string(), kFormat));
  }
  if (cfg.value("version", Json()) != kVersion) {
    throw Error(fmt::format("{}: dictionary format version {}, this build reads {}", file.string(),
                            cfg.value("version", Json()).dump(), kVersion));
  }
  try {
    return from_json(cfg);
  } catch (const Json::exception& error) {
    throw Error(fmt::format("{}: {}", file.string(), error.what()));
  }
}

void check(const DictionaryInfo& info, const fs::path& file) {
  constexpr int64_t kMost = int64_t{1} << 31;
  if (info.variant != "topk") {
    throw Error(fmt::format("{}: variant '{}' is unknown; this build reads: topk", file.string(), info.variant));
  }
  if (info.d < 1 || info.n < 1 || info.d >= kMost || info.n >= kMost || info.k < 1 || info.k > info.n) {
    throw Error(fmt::format("{}: d = {}, n = {}, k = {} do not fit 1 ≤ d, 1 ≤ k ≤ n < 2^31", file.string(), info.d,
                            info.n, info.k));
  }
}

std::vector<float> weights(const data::TensorFile& tensors, const char* name, const std::vector<int64_t>& shape) {
  std::vector<float> values = tensors.at(name, shape).floats();
  for (size_t i = 0; i < values.size(); ++i) {
    if (!std::isfinite(values[i])) {
      throw Error(
          fmt::format("{}: tensor '{}' has a value that is not finite at element {}", tensors.path.string(), name, i));
    }
  }
  return values;
}

fs::path folder_of(const fs::path& path) {
  if (fs::exists(path / "cfg.json")) return path;
  if (fs::exists(path / "dictionary" / "cfg.json")) return path / "dictionary";
  throw Error(fmt::format(
      "{}: no dictionary here (expected cfg.json and dictionary.safetensors, or a run folder with dictionary/)",
      path.string()));
}

}  // namespace

Dictionary Dictionary::load(const fs::path& path) {
  const fs::path folder = folder_of(path);
  Dictionary dictionary;
  dictionary.info = read_cfg(folder / "cfg.json");
  check(dictionary.info, folder / "cfg.json");
  const int64_t n = dictionary.info.n, d = dictionary.info.d;
  const data::TensorFile tensors = data::read_safetensors(folder / "dictionary.safetensors");
  dictionary.w_enc = weights(tensors, "W_enc", {n, d});
  dictionary.w_dec = weights(tensors, "W_dec", {n, d});
  dictionary.b_enc = weights(tensors, "b_enc", {n});
  dictionary.b_dec = weights(tensors, "b_dec", {d});
  return dictionary;
}

void Dictionary::save(const fs::path& folder) const {
  const fs::path part = folder.string() + ".part";
  fs::remove_all(part);
  fs::create_directories(part);
  data::TensorFile file;
  file.tensors["W_enc"] = data::tensor_of(w_enc, {info.n, info.d});
  file.tensors["W_dec"] = data::tensor_of(w_dec, {info.n, info.d});
  file.tensors["b_enc"] = data::tensor_of(b_enc, {info.n});
  file.tensors["b_dec"] = data::tensor_of(b_dec, {info.d});
  data::write_safetensors(file, part / "dictionary.safetensors");
  data::write_file_atomically(part / "cfg.json", to_json(info).dump(2) + "\n");
  fs::remove_all(folder);
  data::publish(part, folder);
}

std::string Dictionary::hash() const {
  std::string bytes = fmt::format("{} {} {} {}\n", info.variant, info.d, info.n, info.k);
  for (const auto* tensor : {&w_enc, &w_dec, &b_enc, &b_dec}) {
    bytes.append(reinterpret_cast<const char*>(tensor->data()), tensor->size() * sizeof(float));
  }
  return data::sha256(bytes);
}

SparseCodes Dictionary::encode(Context& context, ConstMatrix x) const {
  if (x.cols != info.d) {
    throw UsageError(fmt::format("activations have d = {}, the dictionary was trained on d = {}", x.cols, info.d));
  }
  const Primitives& p = primitives(context.isa());
  std::vector<float> centred(x.rows * info.d);
  for (int64_t i = 0; i < x.rows; ++i) p.subtract(x.row(i), b_dec.data(), centred.data() + i * info.d, info.d);
  const ConstMatrix encoder{w_enc.data(), info.n, info.d};
  ScreenCopy screen(info.n, info.d);
  screen.refresh(context, encoder);
  SparseCodes codes;
  NumericFlag flag;
  encode_topk(context, {centred.data(), x.rows, info.d}, {encoder, b_enc.data(), &screen}, info.k, codes, flag);
  if (flag.raised()) throw Error(fmt::format("row {} of the activations is not finite: cannot encode it", flag.row()));
  for (float& value : codes.values) value = std::max(value, 0.0f);
  return codes;
}

void Dictionary::decode(Context& context, const SparseCodes& codes, Matrix out) const {
  sparse_decode(context, codes, {w_dec.data(), info.n, info.d}, b_dec.data(), out);
}

}  // namespace assay::sae
