// Settings of the tasks about training itself.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "eval/tasks/settings.h"

namespace assay::eval::core {

struct CoreConfig {
  int64_t tokens = 65536;
};

struct StabilityConfig {
  int64_t latents = 1024;
};

struct SpliceConfig {
  int64_t texts = 400, batch = 32;
};

void describe(config::Fields& fields, CoreConfig& config);
void make_quick(CoreConfig& config);
void describe(config::Fields& fields, StabilityConfig& config);
void make_quick(StabilityConfig& config);
void describe(config::Fields& fields, SpliceConfig& config);
void make_quick(SpliceConfig& config);

extern const SettingsSection kCoreSettings, kStabilitySettings, kSpliceSettings;

}  // namespace assay::eval::core
