// Times the device's operations and the whole step beside the step's floor, by events on the
// device's own clock. Defined only where ASSAY_CUDA is.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "kernels/base/timing.h"

namespace assay {

struct DeviceBenchOptions {
  std::string what;  ///< step, topk, encode_topk, sparse_decode, value_gradient or backward_update
  int64_t rows, d, n, k, repeats;
  double dead = 0;  ///< share of latents that are dead: AuxK's part of the step
};

struct DeviceBenchResult {
  std::string device;  ///< its name
  /// read + written by a copy within its memory, measured in the same run
  double copied_gb_per_s;
  std::vector<Timing> timings;  ///< a step's two floors stand behind it
};

/// Throws UsageError where the sizes do not fit the step or the operation.
DeviceBenchResult bench_device(const DeviceBenchOptions& options);

}  // namespace assay
