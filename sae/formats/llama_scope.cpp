// OpenMOSS: Llama Scope (hyperparams.json, checkpoints/final.safetensors), its R1 distillation, and
// what Llamascopium writes (config.json, sae_weights.safetensors). Trained on rows x·s with s = √d
// / mean‖x‖; none subtracts b_dec.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>

#include "data/base/atomic_file.h"
#include "kernels/base/error.h"
#include "sae/formats/format.h"
#include "sae/formats/weights.h"

namespace assay::sae::formats {

namespace {

constexpr Layout kLinear{
    {"encoder.weight"}, {"decoder.weight", true}, "encoder.bias", "decoder.bias"};
constexpr Layout kMatrices{{"W_E", true}, {"W_D"}, "b_E", "b_D"};
constexpr Layout kWithoutBias{{"W_E", true}, {"W_D"}, "b_E", nullptr};
constexpr const char* kThreshold = "activation_function.log_jumprelu_threshold";

void refuse_field(const Config& config, const char* key, const std::string& found,
                  const char* expected) {
  throw Error(
      fmt::format("{}: {} '{}': expected {}", config.file().string(), key, found, expected));
}

void refuse_glu(const Config& config) {
  if (config.flag("use_glu_encoder", false))
    throw Error(config.file().string() +
                ": an encoder with a gated linear unit cannot be represented");
}

std::string lower(std::string text) {
  std::transform(text.begin(), text.end(), text.begin(),
                 [](unsigned char c) { return std::tolower(c); });
  return text;
}

void name(Dictionary& dictionary, const Config& config) {
  const std::string in = config.text("hook_point_in"), out = config.text("hook_point_out");
  name_hooks(dictionary, config.text("model_name"), in, out == in ? "" : out);
}

/// Activations are chosen by pre·‖W_D‖ and have the value pre.
void rank_by_norms(Dictionary& dictionary, const Config& config) {
  if (!config.flag("sparsity_include_decoder_norm", true)) return;
  const std::vector<double> norms = decoder_norms(dictionary);
  const auto threshold = dictionary.extra.find("threshold");
  if (threshold == dictionary.extra.end()) {
    dictionary.extra["rank_scale"] = {{dictionary.info.n},
                                      std::vector<float>(norms.begin(), norms.end())};
    return;
  }
  for (size_t j = 0; j < norms.size(); ++j) {
    // A latent that writes nothing never fires.
    threshold->second.values[j] = norms[j] > 0
                                      ? static_cast<float>(threshold->second.values[j] / norms[j])
                                      : std::numeric_limits<float>::max();
  }
}

// --- Llama Scope

bool recognises_scope(const Source& source) {
  return source.has({"encoder.weight", "decoder.weight"}) &&
         source.config.has("jump_relu_threshold");
}

Dictionary read_scope(const Source& source, const ImportOptions&) {
  const Config& config = source.config;
  refuse_glu(config);
  if (const std::string act = lower(config.text("act_fn", "jumprelu")); act != "jumprelu")
    refuse_field(config, "act_fn", act, "jumprelu");
  Dictionary result = read_weights(source, kLinear);
  const double root = std::sqrt(static_cast<double>(result.info.d));
  const double in = root / config.required_number("dataset_average_activation_norm.in");
  const double out =
      root / config.number("dataset_average_activation_norm.out",
                           config.required_number("dataset_average_activation_norm.in"));
  // The threshold meets what its authors' loader makes of the weights: latents in the units of raw
  // rows, and W_dec with both scales in it.
  const bool by_norm = config.flag("sparsity_include_decoder_norm", true);
  const double met = config.required_number("jump_relu_threshold") * (by_norm ? out : in);
  activate_by_threshold(
      result, std::vector<float>(static_cast<size_t>(result.info.n), static_cast<float>(met)));
  rank_by_norms(result, config);
  fold_scales(result, in, out);
  name(result, config);
  return result;
}

// --- its R1 distillation

bool recognises_r1(const Source& source) {
  return source.has({"encoder.weight", "log_jumprelu_threshold"});
}

std::vector<float> exponentials(std::vector<float> logs) {
  for (float& value : logs) value = std::exp(value);
  return logs;
}

Dictionary read_r1(const Source& source, const ImportOptions& options) {
  const Config& config = source.config;
  refuse_glu(config);
  Dictionary result = read_weights(source, kLinear);
  activate_by_threshold(result,
                        exponentials(read_vector(source, "log_jumprelu_threshold", result.info.n)));
  rank_by_norms(result, config);
  const auto scale_at = [&](const std::string& hook) {
    const std::string stored = "dataset_average_activation_norm." + hook;
    if (source.has(stored))
      return std::sqrt(static_cast<double>(result.info.d)) / read_number(source, stored);
    if (options.norm_scale > 0) return options.norm_scale;
    throw UsageError(fmt::format(
        "{}: it was trained on rows x·s and does not say s = √d / mean‖x‖: give --norm-scale s",
        source.path.string()));
  };
  const std::string in = config.text("hook_point_in");
  fold_scales(result, scale_at(in), scale_at(config.text("hook_point_out", in)));
  name(result, config);
  return result;
}

// --- Llamascopium

bool recognises_pium(const Source& source) { return source.has({"W_E", "W_D", "b_E"}); }

double stored_norm(const Source& source, const std::string& hook) {
  return read_number(source, "dataset_average_activation_norm." + hook);
}

/// What standardising for inference does: latents in the units of raw activations.
void standardise(Dictionary& dictionary, const Source& source) {
  const Config& config = source.config;
  const std::string norm = config.text("norm_activation", "dataset-wise");
  if (norm == "inference") return;
  if (norm == "token-wise") {
    dictionary.info.input_norm = "constant_norm";
    dictionary.info.restores_norm = !is_transcoder(dictionary);
    return;
  }
  if (norm != "dataset-wise")
    refuse_field(config, "norm_activation", norm, "inference, dataset-wise or token-wise");
  const double root = std::sqrt(static_cast<double>(dictionary.info.d));
  const std::string hook_in = config.text("hook_point_in");
  const double in = root / stored_norm(source, hook_in);
  const double out = root / stored_norm(source, config.text("hook_point_out", hook_in));
  fold_scales(dictionary, in, out);
  rescale_latents(dictionary, std::vector<double>(static_cast<size_t>(dictionary.info.n), 1 / in));
}

Dictionary read_pium(const Source& source, const ImportOptions&) {
  const Config& config = source.config;
  Dictionary result = read_weights(source, source.has("b_D") ? kMatrices : kWithoutBias);
  const std::string act = lower(config.text("act_fn", "relu"));
  if (act == "topk" || act == "batchtopk") {
    activate_by_topk(result, source, config.required_integer("top_k"));
    if (act == "batchtopk") result.info.encoding = result.info.variant = "batch_topk";
  } else if (act == "jumprelu") {
    activate_by_threshold(result, exponentials(read_vector(source, kThreshold, result.info.n)));
  } else if (act == "relu") {
    activate_by_relu(result);
  } else {
    refuse_field(config, "act_fn", act, "relu, jumprelu, topk or batchtopk");
  }
  if (act != "relu") rank_by_norms(result, config);
  name(result, config);
  standardise(result, source);
  return result;
}

void write_pium(const Dictionary& dictionary, const std::filesystem::path& folder) {
  const DictionaryInfo& info = dictionary.info;
  require_plain("llamascopium", dictionary);
  if (info.width() != info.d)
    cannot_hold("llamascopium", fmt::format("d_out = {} beside d = {}", info.width(), info.d));
  if (info.encoding != "topk" && info.encoding != "batch_topk" && info.encoding != "threshold")
    cannot_hold("llamascopium", "the encoding " + info.encoding);
  Tensors tensors = write_weights(dictionary, kMatrices, false);
  std::string act = info.encoding == "topk" ? "topk" : "batchtopk";
  if (info.encoding == "threshold")
    act = uniform_threshold(dictionary) == 0.0f ? "relu" : "jumprelu";
  if (act == "jumprelu") {
    std::vector<float> logs = dictionary.extra.at("threshold").values;
    for (float& value : logs)
      value = value > 0 ? std::log(value) : -100;  // e^-100 is below any pre-activation > 0
    tensors.own(kThreshold, std::move(logs), {info.n});
  }
  data::write_safetensors(tensors.views(), folder / "sae_weights.safetensors");
  nlohmann::json config{
      {"sae_type", "sae"},
      {"d_model", info.d},
      {"expansion_factor", static_cast<double>(info.n) / static_cast<double>(info.d)},
      {"use_decoder_bias", true},
      {"act_fn", act},
      {"norm_activation", "inference"},
      {"sparsity_include_decoder_norm", false},
      {"use_glu_encoder", false},
      {"hook_point_in", info.hook},
      {"hook_point_out", info.target.empty() ? info.hook : info.target},
      {"model_name", info.model}};
  if (info.k > 0) config["top_k"] = info.k;
  data::write_file_atomically(folder / "config.json", config.dump(2) + "\n");
}

}  // namespace

const Format kLlamaScope{"llama_scope",
                         "Llama Scope: hyperparams.json, checkpoints/final.safetensors",
                         recognises_scope, read_scope, nullptr};
const Format kLlamaScopeR1{"llama_scope_r1",
                           "Llama Scope R1 distill: config.json, sae_weights.safetensors",
                           recognises_r1, read_r1, nullptr};
const Format kLlamascopium{"llamascopium", "Llamascopium: config.json, sae_weights.safetensors",
                           recognises_pium, read_pium, write_pium};

}  // namespace assay::sae::formats
