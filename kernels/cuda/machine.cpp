#include "kernels/cuda/machine.h"

#include <fmt/core.h>

#include "kernels/base/error.h"

namespace assay {

void check_launch(const char* kernel, int64_t blocks, size_t shared_bytes, size_t most_shared) {
  if (blocks > kMostCounted) {
    throw UsageError(
        fmt::format("{}: {} blocks are more than a device launches ({}); take fewer rows", kernel,
                    blocks, kMostCounted));
  }
  if (shared_bytes > most_shared) {
    throw UsageError(
        fmt::format("{}: a block needs {} bytes of shared memory and this device has {}; take "
                    "fewer rows a batch or "
                    "fewer dimensions",
                    kernel, shared_bytes, most_shared));
  }
}

}  // namespace assay
