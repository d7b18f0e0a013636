#include <cuda_runtime.h>

#include "kernels/cuda/cuda_device.h"

namespace assay {

int cuda_device_count() {
  int count = 0;
  return cudaGetDeviceCount(&count) == cudaSuccess ? count : 0;
}

}  // namespace assay
