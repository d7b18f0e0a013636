// Files of tensors without a configuration: OpenAI, Qwen-Scope, Goodfire (Llama; R1, tied),
// qresearch.
#include <fmt/format.h>

#include "data/torch_file.h"
#include "kernels/base/error.h"
#include "sae/formats/format.h"
#include "sae/formats/weights.h"

namespace assay::sae::formats {

namespace {

constexpr Layout kOpenAiLayout{
    {"encoder.weight"}, {"decoder.weight", true}, "latent_bias", "pre_bias"};
constexpr Layout kQwenLayout{{"W_enc"}, {"W_dec", true}, "b_enc", "b_dec"};
constexpr Layout kGoodfireLayout{{"encoder_linear.weight"},
                                 {"decoder_linear.weight", true},
                                 "encoder_linear.bias",
                                 "decoder_linear.bias"};
constexpr Layout kTiedLayout{{"W", true}, {"W", true}, "b_enc", "b_dec"};
constexpr Layout kQresearchLayout{
    {"encoder.weight"}, {"decoder.weight", true}, "encoder.bias", "decoder.bias"};

int64_t asked_k(const Source& source, const ImportOptions& options, const char* where) {
  if (options.k > 0) return options.k;
  throw UsageError(
      fmt::format("{}: the file does not say how many latents a row keeps ({}): give --k K",
                  source.path.string(), where));
}

bool openai(const Source& source) {
  return source.has({"encoder.weight", "decoder.weight", "pre_bias", "latent_bias"});
}
bool qwen(const Source& source) {
  return source.has({"W_enc", "W_dec", "b_enc", "b_dec"}) && !source.has("threshold") &&
         source.tensors.path.extension() == ".pt";
}
bool goodfire(const Source& source) {
  return source.has({"encoder_linear.weight", "decoder_linear.weight"});
}
bool goodfire_r1(const Source& source) { return source.has({"W", "b_enc", "b_dec"}); }
bool qresearch(const Source& source) {
  return source.has({"encoder.weight", "encoder.bias", "decoder.weight", "decoder.bias"});
}

Dictionary read_openai(const Source& source, const ImportOptions&) {
  Dictionary result = read_weights(source, kOpenAiLayout);
  result.info.centred = true;
  const auto& said = source.tensors.metadata;
  const auto activation = said.find("activation");
  if (activation == said.end() || activation->second == "ReLU") {
    activate_by_relu(result);
    return result;
  }
  const auto k = said.find("activation_state_dict.k");
  if (activation->second != "TopK" || k == said.end()) {
    throw Error(
        fmt::format("{}: activation '{}': expected ReLU, or TopK with activation_state_dict.k",
                    source.tensors.path.string(), activation->second));
  }
  activate_by_topk(result, source, std::atoll(k->second.c_str()));
  // Those that it trained by TopK normalise rows.
  result.info.input_norm = "layer_norm";
  result.info.restores_norm = true;
  return result;
}

void write_openai(const Dictionary& dictionary, const std::filesystem::path& folder) {
  require_plain("openai", dictionary);
  if (is_transcoder(dictionary)) cannot_hold("openai", "a transcoder");
  if (dictionary.info.encoding != "threshold" || uniform_threshold(dictionary) != 0.0f) {
    cannot_hold("openai", dictionary.info.encoding == "topk"
                              ? "a TopK that does not normalise its rows"
                              : "an activation other than ReLU");
  }
  data::write_torch(write_weights(dictionary, kOpenAiLayout, true).views(), {},
                    folder / "autoencoder.pt");
}

Dictionary read_qwen(const Source& source, const ImportOptions& options) {
  Dictionary result = read_weights(source, kQwenLayout);
  activate_by_topk(result, source,
                   asked_k(source, options, "it stands in the repository's name, as L0_50"));
  return result;
}

void write_qwen(const Dictionary& dictionary, const std::filesystem::path& folder) {
  require_plain("qwen_scope", dictionary);
  if (dictionary.info.encoding != "topk")
    cannot_hold("qwen_scope", "the encoding " + dictionary.info.encoding);
  if (is_transcoder(dictionary)) cannot_hold("qwen_scope", "a transcoder");
  data::write_torch(write_weights(dictionary, kQwenLayout, false).views(), {},
                    folder / "layer0.sae.pt");
}

Dictionary read_relu(const Source& source, const Layout& layout) {
  Dictionary result = read_weights(source, layout);
  activate_by_relu(result);
  return result;
}

void write_relu(const char* format, const Dictionary& dictionary, const Layout& layout,
                const std::filesystem::path& file) {
  require_plain(format, dictionary);
  if (dictionary.info.encoding != "threshold" || uniform_threshold(dictionary) != 0.0f)
    cannot_hold(format, "an activation other than ReLU");
  if (is_transcoder(dictionary)) cannot_hold(format, "a transcoder");
  data::write_torch(write_weights(dictionary, layout, false).views(), {}, file);
}

Dictionary read_goodfire_r1(const Source& source, const ImportOptions& options) {
  Dictionary result = read_weights(source, kTiedLayout);
  activate_by_topk(result, source, asked_k(source, options, "of a whole batch, on average"));
  result.info.encoding = result.info.variant = "batch_topk";
  return result;
}

}  // namespace

const Format kOpenAi{"openai", "OpenAI sparse_autoencoder: a .pt of pre_bias, latent_bias", openai,
                     read_openai, write_openai};
const Format kQwenScope{"qwen_scope", "Qwen-Scope: layerN.sae.pt (needs --k)", qwen, read_qwen,
                        write_qwen};
const Format kGoodfire{
    "goodfire", "Goodfire Llama: a .pt of encoder_linear, decoder_linear", goodfire,
    [](const Source& s, const ImportOptions&) { return read_relu(s, kGoodfireLayout); },
    [](const Dictionary& d, const std::filesystem::path& folder) {
      write_relu("goodfire", d, kGoodfireLayout, folder / "sae.pt");
    }};
const Format kGoodfireR1{"goodfire_r1", "Goodfire R1: a .pt of one tied W (needs --k)", goodfire_r1,
                         read_goodfire_r1, nullptr};
const Format kQresearch{
    "qresearch", "qresearch R1 distill: a .pt of encoder, decoder", qresearch,
    [](const Source& s, const ImportOptions&) { return read_relu(s, kQresearchLayout); },
    [](const Dictionary& d, const std::filesystem::path& folder) {
      write_relu("qresearch", d, kQresearchLayout, folder / "sae.pt");
    }};

}  // namespace assay::sae::formats
