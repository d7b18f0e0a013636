#include "eval/tasks/core/settings.h"

namespace assay::eval::core {

void describe(config::Fields& fields, CoreConfig& config) {
  fields.integer("tokens", config.tokens, {1, int64_t{1} << 40}, "tokens",
                 "Reconstruction is measured on at most so many validation tokens, and as many of "
                 "training: whole documents, the same share of every file.");
}

void make_quick(CoreConfig& config) { lower(config.tokens, 16384); }

void describe(config::Fields& fields, StabilityConfig& config) {
  fields.integer("latents", config.latents, {1, 1 << 20}, "latents",
                 "Latents of each dictionary that are looked for in its reseeds.");
}

void make_quick(StabilityConfig& config) { lower(config.latents, 256); }

void describe(config::Fields& fields, SpliceConfig& config) {
  fields.integer("texts", config.texts, {2, 1 << 30}, "texts",
                 "At most this many validation texts run through the upper half.");
  fields.integer("batch", config.batch, {1, 4096}, "texts", "Texts a forward pass.");
}

void make_quick(SpliceConfig& config) { lower(config.texts, 100); }

const SettingsSection kCoreSettings =
    settings_section<CoreConfig>("core", "Reconstruction and latent use.");
const SettingsSection kStabilitySettings =
    settings_section<StabilityConfig>("seed_stability", "What another training seed finds again.");
const SettingsSection kSpliceSettings = settings_section<SpliceConfig>(
    "splice", "Reconstructions spliced into the model's upper half.");

}  // namespace assay::eval::core
