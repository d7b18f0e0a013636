#include "eval/tasks/probing/readings.h"

#include <fmt/format.h>

#include <cmath>

#include "kernels/base/error.h"

namespace assay::eval::probing {
namespace {

float as_it_is(float value) { return value; }
float root(float value) { return std::copysign(std::sqrt(std::abs(value)), value); }
float on_or_off(float value) { return value > 0 ? 1.0f : 0.0f; }

}  // namespace

const std::array<Reading, 4> kReadings{{{"z_scored", as_it_is, true},
                                        {"raw", as_it_is, false},
                                        {"sqrt", root, false},
                                        {"binary", on_or_off, false}}};

const Reading& reading(const std::string& name) {
  for (const Reading& own : kReadings)
    if (own.name == name) return own;
  throw Error(fmt::format("probing: no reading '{}'", name));
}

SparseFeatures read(SparseFeatures x, const Reading& reading) {
  for (float& value : x.codes.values) value = reading.of(value);
  return x;
}

LogisticOptions options_of(const Reading& reading, const SparseFeatures& x) {
  LogisticOptions options;
  options.standardise = reading.standardise;
  if (options.standardise) return options;
  options.c_grid = default_c_grid(Penalty::l2);
  const double variance = mean_variance(x);
  for (double& c : options.c_grid) c /= variance > 0 ? variance : 1;
  return options;
}

}  // namespace assay::eval::probing
