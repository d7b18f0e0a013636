// dictionary_learning: config.json, which names the class, and ae.pt (dictionary_learning 0.1.0).
#include <fmt/format.h>

#include <nlohmann/json.hpp>
#include <numeric>

#include "data/base/atomic_file.h"
#include "data/torch_file.h"
#include "kernels/base/error.h"
#include "sae/formats/format.h"
#include "sae/formats/weights.h"

namespace assay::sae::formats {

namespace {

constexpr Layout kLinear{{"encoder.weight"}, {"decoder.weight", true}, "encoder.bias", "b_dec"};
constexpr Layout kReLU{{"encoder.weight"}, {"decoder.weight", true}, "encoder.bias", "bias"};
constexpr Layout kReLUNew{
    {"encoder.weight"}, {"decoder.weight", true}, "encoder.bias", "decoder.bias"};
constexpr Layout kGated{{"encoder.weight"}, {"decoder.weight", true}, nullptr, "decoder_bias"};
constexpr Layout kMatrices{{"W_enc", true}, {"W_dec"}, "b_enc", "b_dec"};

int64_t k_of(const Source& source) {
  return source.has("k") ? static_cast<int64_t>(read_number(source, "k"))
                         : source.config.required_integer("trainer.k");
}

/// BatchTopK's threshold is one number, −1 until training has set it.
void activate_by_one_threshold(Dictionary& dictionary, const Source& source,
                               const ImportOptions& options) {
  const auto threshold = static_cast<float>(read_number(source, "threshold"));
  if (threshold >= 0) {
    const auto n = static_cast<size_t>(dictionary.info.n);
    activate_by_threshold(dictionary, std::vector<float>(n, threshold));
    dictionary.info.k = k_of(source);
  } else if (options.k > 0) {
    activate_by_topk(dictionary, source, options.k);
  } else {
    throw UsageError(
        fmt::format("{}: 'threshold' is {}: training never set it, so every positive latent would "
                    "pass; --k {} reads it as the {} "
                    "largest latents of a row instead",
                    source.tensors.path.string(), threshold, k_of(source), k_of(source)));
  }
  dictionary.info.variant = "batch_topk";
}

std::vector<int64_t> prefixes_of(const Source& source, int64_t n) {
  std::vector<int64_t> ends = source.tensors.integers("group_sizes", {-1});
  for (const int64_t size : ends)
    if (size < 1 || size > n)
      throw Error(
          fmt::format("{}: group_sizes: {} of n = {}", source.tensors.path.string(), size, n));
  std::partial_sum(ends.begin(), ends.end(), ends.begin());
  return ends;
}

/// A class that is read: what it is called, where its tensors are, and how it encodes.
struct DictClass {
  const char* name;
  const Layout& layout;
  bool centred;
  void (*activate)(Dictionary& dictionary, const Source& source, const ImportOptions& options);
};

const DictClass kClasses[] = {
    {"AutoEncoder", kReLU, true,
     [](Dictionary& d, const Source&, const ImportOptions&) {
       activate_by_relu(d);
       rescale_latents(d, decoder_norms(d));  // its from_pretrained does, unless told otherwise
     }},
    {"AutoEncoderNew", kReLUNew, false,
     [](Dictionary& d, const Source&, const ImportOptions&) { activate_by_relu(d); }},
    {"GatedAutoEncoder", kGated, true,
     [](Dictionary& d, const Source& s, const ImportOptions&) {
       activate_by_gate(d, s, "gate_bias", "r_mag", "mag_bias");
     }},
    {"JumpReluAutoEncoder", kMatrices, false,
     [](Dictionary& d, const Source& s, const ImportOptions&) {
       activate_by_threshold(d, read_vector(s, "threshold", d.info.n));
     }},
    {"AutoEncoderTopK", kLinear, true,
     [](Dictionary& d, const Source& s, const ImportOptions&) { activate_by_topk(d, s, k_of(s)); }},
    {"BatchTopKSAE", kLinear, true, activate_by_one_threshold},
    {"MatryoshkaBatchTopKSAE", kMatrices, true,
     [](Dictionary& d, const Source& s, const ImportOptions& o) {
       activate_by_one_threshold(d, s, o);
       d.info.variant = "matryoshka_batch_topk";
       d.info.prefixes = prefixes_of(s, d.info.n);
     }},
};

bool recognises(const Source& source) { return source.config.has("trainer.dict_class"); }

Dictionary read(const Source& source, const ImportOptions& options) {
  const Config& config = source.config;
  const std::string name = config.text("trainer.dict_class");
  std::string known;
  for (const DictClass& dict_class : kClasses) {
    if (dict_class.name != name) {
      known += fmt::format("{}{}", known.empty() ? "" : ", ", dict_class.name);
      continue;
    }
    Dictionary result = read_weights(source, dict_class.layout);
    result.info.centred = dict_class.centred;
    dict_class.activate(result, source, options);
    const auto* layer = config.find("trainer.layer");
    name_hooks(
        result, config.text("trainer.lm_name"),
        config.text("trainer.submodule_name", layer != nullptr && layer->is_number_integer()
                                                  ? fmt::format("layer {}", layer->get<int64_t>())
                                                  : ""),
        "");
    return result;
  }
  throw Error(fmt::format("{}: trainer.dict_class '{}': expected one of {}", config.file().string(),
                          name, known));
}

/// Tensors, and the class whose they are.
struct Written {
  const char* dict_class;
  Tensors tensors;
};

/// These subtract b_dec, and know k.
Written as_batch_topk(const Dictionary& dictionary, float threshold) {
  const DictionaryInfo& info = dictionary.info;
  const bool nested = !info.prefixes.empty();
  Written result{nested ? "MatryoshkaBatchTopKSAE" : "BatchTopKSAE",
                 write_weights(dictionary, nested ? kMatrices : kLinear, true)};
  result.tensors.own("threshold", std::vector<float>{threshold}, {});
  result.tensors.own("k", std::vector<int32_t>{static_cast<int32_t>(info.k)}, {});
  if (!nested) return result;
  std::vector<int64_t> sizes = info.prefixes;
  std::adjacent_difference(sizes.begin(), sizes.end(), sizes.begin());
  const auto groups = static_cast<int64_t>(sizes.size());
  result.tensors.own("group_sizes", std::move(sizes), {groups});
  return result;
}

Written as_threshold(const Dictionary& dictionary) {
  const std::optional<float> threshold = uniform_threshold(dictionary);
  if (threshold == 0.0f) return {"AutoEncoderNew", write_weights(dictionary, kReLUNew, false)};
  if (threshold && dictionary.info.k > 0) return as_batch_topk(dictionary, *threshold);
  Written result{"JumpReluAutoEncoder", write_weights(dictionary, kMatrices, false)};
  result.tensors.view("threshold", dictionary.extra.at("threshold").values, {dictionary.info.n});
  return result;
}

Written as_topk(const Dictionary& dictionary) {
  Written result{"AutoEncoderTopK", write_weights(dictionary, kLinear, true)};
  result.tensors.own("k", std::vector<int32_t>{static_cast<int32_t>(dictionary.info.k)}, {});
  result.tensors.own("threshold", std::vector<float>{-1}, {});
  return result;
}

Written as_gated(const Dictionary& dictionary) {
  const int64_t n = dictionary.info.n;
  if (!dictionary.info.centred)
    cannot_hold("dictionary_learning", "a gated autoencoder that does not subtract b_dec");
  Written result{"GatedAutoEncoder", write_weights(dictionary, kGated, true)};
  result.tensors.view("gate_bias", dictionary.b_enc, {n});
  result.tensors.view("r_mag", dictionary.extra.at("r_mag").values, {n});
  result.tensors.view("mag_bias", dictionary.extra.at("b_mag").values, {n});
  return result;
}

Written written(const Dictionary& dictionary) {
  const std::string& encoding = dictionary.info.encoding;
  if (encoding == "topk") return as_topk(dictionary);
  if (encoding == "threshold") return as_threshold(dictionary);
  if (encoding == "gated") return as_gated(dictionary);
  cannot_hold("dictionary_learning", "the encoding " + encoding);
}

void write(const Dictionary& dictionary, const std::filesystem::path& folder) {
  const DictionaryInfo& info = dictionary.info;
  require_plain("dictionary_learning", dictionary);
  if (is_transcoder(dictionary)) cannot_hold("dictionary_learning", "a transcoder");
  const Written result = written(dictionary);
  data::write_torch(result.tensors.views(), {}, folder / "ae.pt");
  nlohmann::json trainer{
      {"dict_class", result.dict_class}, {"activation_dim", info.d},    {"dict_size", info.n},
      {"lm_name", info.model},           {"submodule_name", info.hook}, {"seed", info.seed}};
  if (info.k > 0) trainer["k"] = info.k;
  data::write_file_atomically(
      folder / "config.json",
      nlohmann::json{{"trainer", trainer}, {"buffer", nlohmann::json::object()}}.dump(2) + "\n");
}

}  // namespace

const Format kDictionaryLearning{"dictionary_learning", "dictionary_learning: config.json, ae.pt",
                                 recognises, read, write};

}  // namespace assay::sae::formats
