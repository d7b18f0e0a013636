#include "sae/frozen.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "kernels/base/error.h"
#include "sae/state.h"

namespace assay::sae {

const std::vector<FrozenPart>& frozen_parts() {
  static const std::vector<FrozenPart> parts{{"decoder", "frozen_decoder"},
                                             {"soft_decoder", "soft_frozen_decoder"},
                                             {"encoder", "frozen_encoder"}};
  return parts;
}

std::string null_kind_of(const ModelConfig& model) {
  for (const FrozenPart& part : frozen_parts())
    if (part.frozen == model.frozen) return part.null_kind;
  return {};
}

void check_frozen(const ModelConfig& model, const TrainConfig& train, const VariantEntry& entry) {
  if (model.frozen == "none") return;
  if (!entry.freezes) {
    std::vector<std::string> able;
    for (const VariantEntry* each : variants())
      if (each->freezes) able.emplace_back(each->name);
    throw UsageError(
        fmt::format("model.frozen = {}: the variant {} cannot be frozen in part; {} can",
                    model.frozen, entry.name, fmt::join(able, ", ")));
  }
  if (train.resample_every > 0)
    throw UsageError(fmt::format(
        "train.resample_every: resampling would move what model.frozen = {} holds; set it to 0",
        model.frozen));
}

bool stays(const ModelConfig& model, const std::string& parameter) {
  if (model.frozen == "decoder") return parameter == "W_dec";
  return model.frozen == "encoder" && (parameter == "W_enc" || parameter == "b_enc");
}

Held held_by(Context& context, const ModelConfig& model, uint64_t seed, int64_t d_out,
             std::vector<float>& axes) {
  Held held;
  held.encoder = stays(model, "W_enc");
  held.decoder = stays(model, "W_dec");
  if (model.frozen != "soft_decoder") return held;
  if (axes.empty()) {
    axes.resize(model.n * d_out);
    unit_rows(context, seed, {axes.data(), model.n, d_out});
  }
  held.axes = axes.data();
  held.cosine = kSoftCosine;
  return held;
}

}  // namespace assay::sae
