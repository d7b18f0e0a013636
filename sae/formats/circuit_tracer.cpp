// circuit-tracer: a transcoder per layer, layer_N.safetensors, and config.yaml for the set
// (circuit-tracer 0.5).
#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "data/base/atomic_file.h"
#include "kernels/base/error.h"
#include "sae/formats/format.h"
#include "sae/formats/weights.h"

namespace assay::sae::formats {

namespace {

constexpr Layout kLayout{{"W_enc"}, {"W_dec"}, "b_enc", "b_dec"};
constexpr const char* kThreshold = "activation_function.threshold";

bool recognises(const Source& source) {
  return source.has({"W_enc", "W_dec", "b_enc", "b_dec"}) &&
         source.tensors.path.extension() == ".safetensors";
}

Dictionary read(const Source& source, const ImportOptions&) {
  const Config& config = source.config;
  Dictionary result = read_weights(source, kLayout);
  if (source.has(kThreshold)) {
    std::vector<float> threshold = read_vector(source, kThreshold, result.info.n);
    // No ReLU stands behind it: negative values would pass.
    if (std::any_of(threshold.begin(), threshold.end(), [](float v) { return v < 0; })) {
      throw Error(fmt::format(
          "{}: '{}' is negative somewhere, so that negative latents pass: expected thresholds >= 0",
          source.tensors.path.string(), kThreshold));
    }
    activate_by_threshold(result, std::move(threshold));
  } else {
    activate_by_relu(result);
  }
  if (source.has("W_skip")) add_skip(result, source, {"W_skip"});
  name_hooks(result, config.text("model_name"), config.text("feature_input_hook", "input"),
             config.text("feature_output_hook", "output"));
  return result;
}

void write(const Dictionary& dictionary, const std::filesystem::path& folder) {
  const DictionaryInfo& info = dictionary.info;
  require_plain("circuit_tracer", dictionary, true);
  if (info.encoding != "threshold") cannot_hold("circuit_tracer", "the encoding " + info.encoding);
  if (info.width() != info.d)
    cannot_hold("circuit_tracer", fmt::format("d_out = {} beside d = {}", info.width(), info.d));
  if (!is_transcoder(dictionary)) cannot_hold("circuit_tracer", "an autoencoder");
  Tensors tensors = write_weights(dictionary, kLayout, false);
  if (uniform_threshold(dictionary) != 0.0f)
    tensors.view(kThreshold, dictionary.extra.at("threshold").values, {info.n});
  if (const auto skip = dictionary.extra.find("W_skip"); skip != dictionary.extra.end())
    tensors.view("W_skip", skip->second.values, skip->second.shape);
  data::write_safetensors(tensors.views(), folder / "layer_0.safetensors");
  // What JSON writes is YAML too.
  const nlohmann::ordered_json config{{"model_name", info.model},
                                      {"model_kind", "transcoder_set"},
                                      {"feature_input_hook", info.hook},
                                      {"feature_output_hook", info.target},
                                      {"scan", ""},
                                      {"transcoders", {"layer_0.safetensors"}}};
  data::write_file_atomically(folder / "config.yaml", config.dump(2) + "\n");
}

}  // namespace

const Format kCircuitTracer{"circuit_tracer", "circuit-tracer: layer_N.safetensors of a transcoder",
                            recognises, read, write};

}  // namespace assay::sae::formats
