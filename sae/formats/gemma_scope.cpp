// Gemma Scope (params.npz) and Gemma Scope 2 (params.safetensors, config.json): JumpReLU
// autoencoders and transcoders that do not subtract b_dec.
#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "data/base/atomic_file.h"
#include "data/npz.h"
#include "kernels/base/error.h"
#include "sae/formats/format.h"
#include "sae/formats/weights.h"

namespace assay::sae::formats {

namespace {

constexpr Layout kFirst{{"W_enc", true}, {"W_dec"}, "b_enc", "b_dec"};
constexpr Layout kSecond{{"w_enc", true}, {"w_dec"}, "b_enc", "b_dec"};
// A row vector times each matrix: [d, d_out], as w_enc is [d, n].
constexpr Placed kSkip{"affine_skip_connection", true};

bool recognises_first(const Source& source) {
  return source.has({"W_enc", "W_dec", "b_enc", "b_dec", "threshold"}) && source.config.empty();
}

Dictionary read_first(const Source& source, const ImportOptions&) {
  Dictionary result = read_weights(source, kFirst);
  activate_by_threshold(result, read_vector(source, "threshold", result.info.n));
  name_hooks(result, "", "", "");
  return result;
}

bool recognises_second(const Source& source) {
  return source.has({"w_enc", "w_dec", "b_enc", "b_dec", "threshold"});
}

Dictionary read_second(const Source& source, const ImportOptions&) {
  const Config& config = source.config;
  const std::string architecture = config.text("architecture", "jump_relu");
  if (architecture != "jump_relu")
    throw Error(fmt::format("{}: architecture '{}': expected jump_relu", config.file().string(),
                            architecture));
  Dictionary result = read_weights(source, kSecond);
  activate_by_threshold(result, read_vector(source, "threshold", result.info.n));
  if (source.has("affine_skip_connection")) add_skip(result, source, kSkip);
  const std::string in = config.text("hf_hook_point_in"), out = config.text("hf_hook_point_out");
  name_hooks(result, config.text("model_name"), in, out == in ? "" : out);
  return result;
}

void require_threshold(const char* format, const Dictionary& dictionary, bool skip) {
  require_plain(format, dictionary, skip);
  if (dictionary.info.encoding != "threshold")
    cannot_hold(format, "the encoding " + dictionary.info.encoding);
}

void write_first(const Dictionary& dictionary, const std::filesystem::path& folder) {
  require_threshold("gemma_scope", dictionary, false);
  Tensors tensors = write_weights(dictionary, kFirst, false);
  tensors.view("threshold", dictionary.extra.at("threshold").values, {dictionary.info.n});
  data::write_npz(tensors.views(), folder / "params.npz");
}

void write_second(const Dictionary& dictionary, const std::filesystem::path& folder) {
  const DictionaryInfo& info = dictionary.info;
  require_threshold("gemma_scope_2", dictionary, true);
  Tensors tensors = write_weights(dictionary, kSecond, false);
  tensors.view("threshold", dictionary.extra.at("threshold").values, {info.n});
  const auto skip = dictionary.extra.find("W_skip");
  if (skip != dictionary.extra.end())
    tensors.place(kSkip, skip->second.values, info.width(), info.d);
  data::write_safetensors(tensors.views(), folder / "params.safetensors");
  nlohmann::json config{
      {"architecture", "jump_relu"}, {"model_name", info.model}, {"hf_hook_point_in", info.hook}};
  if (is_transcoder(dictionary)) {
    config["hf_hook_point_out"] = info.target;
    config["affine_connection"] = skip != dictionary.extra.end();
  }
  data::write_file_atomically(folder / "config.json", config.dump(2) + "\n");
}

}  // namespace

const Format kGemmaScope{"gemma_scope", "Gemma Scope: params.npz", recognises_first, read_first,
                         write_first};
const Format kGemmaScope2{"gemma_scope_2", "Gemma Scope 2: config.json, params.safetensors",
                          recognises_second, read_second, write_second};

}  // namespace assay::sae::formats
