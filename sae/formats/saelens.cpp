// SAELens: cfg.json and sae_weights.safetensors (sae-lens 6; older configurations as its loader
// reads them).
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "data/base/atomic_file.h"
#include "data/base/say.h"
#include "kernels/base/error.h"
#include "sae/formats/format.h"
#include "sae/formats/weights.h"

namespace assay::sae::formats {

namespace {

constexpr Layout kLayout{{"W_enc", true}, {"W_dec"}, "b_enc", "b_dec"};
constexpr Layout kGated{{"W_enc", true}, {"W_dec"}, nullptr, "b_dec"};
constexpr const char* kVersion = "6.54.0";  // whose meaning of the fields this is

/// Versions before 6 wrote the version at the top level, or none, and called some fields
/// differently.
bool is_legacy(const Config& config) {
  const std::string version =
      config.text("sae_lens_version", config.text("metadata.sae_lens_version"));
  return version.empty() || std::atoi(version.c_str()) < 6;
}

std::string renamed(const Config& config, const char* name, const char* before) {
  return config.text(name, config.text(before));
}

std::string architecture_of(const Config& config) {
  if (!is_legacy(config)) return config.text("architecture");
  const std::string activation = renamed(config, "activation_fn", "activation_fn_str");
  if (activation == "topk") return "topk";
  if (!activation.empty() && activation != "relu")
    throw Error(fmt::format("{}: activation_fn '{}': expected relu or topk", config.file().string(),
                            activation));
  return config.text("architecture", "standard");
}

bool ends_with(const std::string& text, const std::string& end) {
  return text.size() >= end.size() && text.compare(text.size() - end.size(), end.size(), end) == 0;
}

void activate(Dictionary& dictionary, const Source& source, const std::string& architecture) {
  const Config& config = source.config;
  if (architecture == "topk") {
    activate_by_topk(dictionary, source,
                     is_legacy(config) ? config.required_integer("activation_fn_kwargs.k")
                                       : config.integer("k", 100));
  } else if (architecture == "gated") {
    activate_by_gate(dictionary, source, "b_gate", "r_mag", "b_mag");
  } else if (architecture.rfind("jumprelu", 0) == 0) {
    activate_by_threshold(dictionary, read_vector(source, "threshold", dictionary.info.n));
  } else {
    activate_by_relu(dictionary);
  }
}

/// What a row goes through before the encoder and a reconstruction behind the decoder.
void normalise_rows(Dictionary& dictionary, const Config& config, const ImportOptions& options) {
  const auto* given = config.find("normalize_activations");
  const std::string norm = given == nullptr ? "none"
                           : given->is_boolean()
                               ? given->get<bool>() ? "expected_average_only_in" : "none"
                               : config.text("normalize_activations");
  DictionaryInfo& info = dictionary.info;
  if (norm == "layer_norm" || norm == "constant_norm_rescale") {
    info.input_norm = norm == "layer_norm" ? "layer_norm" : "constant_norm";
    info.restores_norm = !is_transcoder(dictionary);
  } else if (norm == "expected_average_only_in") {
    if (options.norm_scale > 0)
      return fold_scales(dictionary, options.norm_scale, options.norm_scale);
    info.warnings.push_back(
        "SAELens scaled its training activations and did not fold the scale s into these weights "
        "(normalize_activations "
        "expected_average_only_in): on raw activations they do what SAELens does; --norm-scale s "
        "folds it");
    data::note(fmt::format("warning: {}: {}", config.file().string(), info.warnings.back()));
  } else if (norm != "none") {
    throw Error(
        fmt::format("{}: normalize_activations '{}': expected none, expected_average_only_in, "
                    "layer_norm or constant_norm_rescale",
                    config.file().string(), norm));
  }
}

/// Versions before 6 could multiply activations before decoding.
void fold_finetuning(Dictionary& dictionary, const Source& source) {
  if (!source.has("scaling_factor")) return;
  const int64_t n = dictionary.info.n, d = dictionary.info.width();
  const std::vector<float> scale = read_vector(source, "scaling_factor", n);
  const bool ones =
      std::all_of(scale.begin(), scale.end(), [](float v) { return std::abs(v - 1) < 1e-5f; });
  if (!ones && !source.config.flag("finetuning_scaling_factor", false)) {
    throw Error(fmt::format(
        "{}: 'scaling_factor' is not 1 everywhere, but finetuning_scaling_factor is false in {}",
        source.tensors.path.string(), source.config.file().string()));
  }
  for (int64_t j = 0; j < n && !ones; ++j)
    for (int64_t c = 0; c < d; ++c) dictionary.w_dec[j * d + c] *= scale[j];
}

bool recognises(const Source& source) {
  return source.config.has("d_sae") && source.config.has("d_in");
}

Dictionary read(const Source& source, const ImportOptions& options) {
  static const std::vector<std::string> known{"standard",        "topk",
                                              "gated",           "jumprelu",
                                              "transcoder",      "jumprelu_transcoder",
                                              "skip_transcoder", "jumprelu_skip_transcoder"};
  const Config& config = source.config;
  const std::string architecture = architecture_of(config);
  if (std::find(known.begin(), known.end(), architecture) == known.end()) {
    throw Error(
        fmt::format("{}: SAELens architecture '{}' cannot be represented; expected one of {}",
                    config.file().string(), architecture, fmt::join(known, ", ")));
  }
  const bool transcoder = ends_with(architecture, "transcoder");
  Dictionary result = read_weights(source, architecture == "gated" ? kGated : kLayout);
  if (config.required_integer("d_sae") != result.info.n ||
      config.required_integer("d_in") != result.info.d) {
    throw Error(fmt::format("{}: d_in {}, d_sae {}: expected those of its tensors, {} and {}",
                            config.file().string(), config.required_integer("d_in"),
                            config.required_integer("d_sae"), result.info.d, result.info.n));
  }
  activate(result, source, architecture);
  result.info.centred = !transcoder && config.flag("apply_b_dec_to_input", true);
  if (architecture == "topk" && config.flag("rescale_acts_by_decoder_norm", false))
    rescale_latents(result, decoder_norms(result));
  if (ends_with(architecture, "skip_transcoder")) add_skip(result, source, {"W_skip"});
  fold_finetuning(result, source);
  const std::string at = is_legacy(config) ? "" : "metadata.";
  const std::string target = transcoder ? config.text(at + "hook_name_out", "output") : "";
  name_hooks(result, config.text(at + "model_name"),
             config.text(at + "hook_name", config.text("hook_point")), target);
  normalise_rows(result, config, options);
  return result;
}

std::string architecture_for(const Dictionary& dictionary) {
  const std::string& encoding = dictionary.info.encoding;
  if (encoding != "topk" && encoding != "threshold" && encoding != "gated")
    cannot_hold("saelens", "the encoding " + encoding);
  const bool skip = dictionary.extra.count("W_skip") > 0;
  if (!is_transcoder(dictionary)) {
    if (skip) cannot_hold("saelens", "an autoencoder with a skip connection");
    if (encoding != "threshold") return encoding;
    return uniform_threshold(dictionary) == 0.0f ? "standard" : "jumprelu";
  }
  if (encoding != "threshold") cannot_hold("saelens", "a transcoder of the encoding " + encoding);
  const std::string jump = uniform_threshold(dictionary) == 0.0f ? "" : "jumprelu_";
  return jump + (skip ? "skip_transcoder" : "transcoder");
}

nlohmann::json config_for(const Dictionary& dictionary, const std::string& architecture) {
  const DictionaryInfo& info = dictionary.info;
  const bool transcoder = is_transcoder(dictionary);
  nlohmann::json metadata{{"model_name", info.model},       {"hook_name", info.hook},
                          {"sae_lens_version", kVersion},   {"sae_lens_training_version", nullptr},
                          {"trained_with", "assay"},        {"assay_variant", info.variant},
                          {"training_tokens", info.tokens}, {"seed", info.seed}};
  if (transcoder) metadata["hook_name_out"] = info.target;
  nlohmann::json config{
      {"architecture", architecture},
      {"d_in", info.d},
      {"d_sae", info.n},
      {"dtype", "float32"},
      {"device", "cpu"},
      {"apply_b_dec_to_input", info.centred && !transcoder},
      {"normalize_activations",
       info.input_norm == "constant_norm" ? "constant_norm_rescale" : info.input_norm},
      {"reshape_activations", "none"},
      {"metadata", metadata}};
  if (transcoder) config["d_out"] = info.width();
  if (architecture == "topk") config["k"] = info.k, config["rescale_acts_by_decoder_norm"] = false;
  return config;
}

void write(const Dictionary& dictionary, const std::filesystem::path& folder) {
  const DictionaryInfo& info = dictionary.info;
  const std::string architecture = architecture_for(dictionary);
  if (!info.hooks.empty() || dictionary.extra.count("rank_scale") > 0)
    require_plain("saelens", dictionary, true);
  if (info.input_norm != "none" && info.restores_norm == is_transcoder(dictionary))
    cannot_hold("saelens", "rows that are normalised before and not after");
  const bool gated = architecture == "gated";
  Tensors tensors = write_weights(dictionary, gated ? kGated : kLayout,
                                  info.centred && !is_transcoder(dictionary));
  if (gated) {
    tensors.view("b_gate", dictionary.b_enc, {info.n});
    tensors.view("r_mag", dictionary.extra.at("r_mag").values, {info.n});
    tensors.view("b_mag", dictionary.extra.at("b_mag").values, {info.n});
  }
  if (architecture.rfind("jumprelu", 0) == 0)
    tensors.view("threshold", dictionary.extra.at("threshold").values, {info.n});
  if (const auto skip = dictionary.extra.find("W_skip"); skip != dictionary.extra.end())
    tensors.view("W_skip", skip->second.values, skip->second.shape);
  data::write_safetensors(tensors.views(), folder / "sae_weights.safetensors");
  data::write_file_atomically(folder / "cfg.json",
                              config_for(dictionary, architecture).dump(2) + "\n");
}

}  // namespace

const Format kSaeLens{"saelens", "SAELens: cfg.json, sae_weights.safetensors", recognises, read,
                      write};

}  // namespace assay::sae::formats
