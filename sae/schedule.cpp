#include "sae/schedule.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace assay::sae {

double schedule_factor(const TrainConfig& train, int64_t step) {
  double factor = 1;
  if (step < train.warmup_steps)
    factor = static_cast<double>(step + 1) / static_cast<double>(train.warmup_steps);
  const auto total = static_cast<double>(train.steps);
  const double decay_steps = train.decay_fraction * total, left = total - static_cast<double>(step);
  if (left >= decay_steps) return factor;
  const double remaining = left / decay_steps, passed = 1 - remaining;
  double decay = remaining;
  if (train.decay_shape == "cosine") decay = 0.5 * (1 + std::cos(std::numbers::pi * passed));
  if (train.decay_shape == "sqrt") decay = 1 - std::sqrt(passed);
  return std::min(factor, decay);
}

}  // namespace assay::sae
