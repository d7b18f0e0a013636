// EleutherAI's sparsify: cfg.json and sae.safetensors (eai-sparsify 1.3.3).
#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "data/base/atomic_file.h"
#include "kernels/base/error.h"
#include "sae/formats/format.h"
#include "sae/formats/weights.h"

namespace assay::sae::formats {

namespace {

constexpr Layout kLayout{{"encoder.weight"}, {"W_dec"}, "encoder.bias", "b_dec"};

bool recognises(const Source& source) {
  return source.has({"encoder.weight", "encoder.bias", "W_dec", "b_dec"}) &&
         source.config.has("d_in");
}

Dictionary read(const Source& source, const ImportOptions&) {
  const Config& config = source.config;
  if (config.flag("signed", false))
    throw Error(fmt::format("{}: signed latents cannot be represented", config.file().string()));
  Dictionary result = read_weights(source, kLayout);
  const std::string activation = config.text("activation", "topk");
  if (activation != "topk" && activation != "groupmax")
    throw Error(fmt::format("{}: activation '{}': expected topk or groupmax",
                            config.file().string(), activation));
  activate_by_topk(result, source, config.integer("k", 32));
  if (activation == "groupmax") result.info.encoding = "group_max";
  const bool transcoder = config.flag("transcode", false);
  result.info.centred = !transcoder;
  if (source.has("W_skip")) add_skip(result, source, {"W_skip"});
  // The folder is named by the hook.
  const std::string hook =
      std::filesystem::absolute(source.tensors.path).parent_path().filename().string();
  name_hooks(result, "", hook, transcoder ? "output" : "");
  return result;
}

void write(const Dictionary& dictionary, const std::filesystem::path& folder) {
  const DictionaryInfo& info = dictionary.info;
  require_plain("sparsify", dictionary, true);
  if (info.encoding != "topk" && info.encoding != "group_max")
    cannot_hold("sparsify", "the encoding " + info.encoding);
  if (info.width() != info.d)
    cannot_hold("sparsify", fmt::format("d_out = {} beside d = {}", info.width(), info.d));
  const bool transcoder = is_transcoder(dictionary);
  const bool skip = dictionary.extra.count("W_skip") > 0;
  Tensors tensors = write_weights(dictionary, kLayout, !transcoder);
  if (skip) tensors.view("W_skip", dictionary.extra.at("W_skip").values, {info.d, info.d});
  data::write_safetensors(tensors.views(), folder / "sae.safetensors");
  const nlohmann::json config{{"activation", info.encoding == "topk" ? "topk" : "groupmax"},
                              {"expansion_factor", std::max<int64_t>(1, info.n / info.d)},
                              {"normalize_decoder", false},
                              {"num_latents", info.n},
                              {"k", info.k},
                              {"multi_topk", false},
                              {"skip_connection", skip},
                              {"transcode", transcoder},
                              {"d_in", info.d}};
  data::write_file_atomically(folder / "cfg.json", config.dump(2) + "\n");
}

}  // namespace

const Format kSparsify{"sparsify", "EleutherAI sparsify: cfg.json, sae.safetensors", recognises,
                       read, write};

}  // namespace assay::sae::formats
