// Settings of the tasks about training itself.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "eval/tasks/settings.h"

namespace assay::eval::core {

struct StabilityConfig {
  int64_t latents = 1024;
};

struct SpliceConfig {
  int64_t texts = 400, batch = 32;
};

void describe(config::Fields& fields, StabilityConfig& config);
void make_quick(StabilityConfig& config);
void describe(config::Fields& fields, SpliceConfig& config);
void make_quick(SpliceConfig& config);

extern const SettingsSection kStabilitySettings, kSpliceSettings;

}  // namespace assay::eval::core
