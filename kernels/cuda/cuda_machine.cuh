// A CUDA device as a Machine (kernels/cuda/machine.h): one stream, kernels launched on it, memory
// from the stream's pool, and the product by cuBLASLt.
#pragma once

#include <cuda_runtime.h>

#include <map>
#include <string>
#include <tuple>

#include "kernels/base/error.h"
#include "kernels/cuda/cuda_thread.cuh"
#include "kernels/cuda/machine.h"

namespace assay {

/// Throws Error naming the operation and the device's complaint.
inline void check_cuda(cudaError_t status, const char* operation) {
  if (status != cudaSuccess)
    throw Error(std::string(operation) + ": CUDA: " + cudaGetErrorString(status));
}

template <class Kernel>
__global__ void __launch_bounds__(Kernel::kThreads) run_kernel(const Kernel kernel) {
  DeviceThread thread;
  kernel(thread);
}

class DeviceMachine final : public Machine {
 public:
  DeviceMachine();
  ~DeviceMachine() override;
  DeviceMachine(const DeviceMachine&) = delete;
  DeviceMachine& operator=(const DeviceMachine&) = delete;

  /// What goes wrong while a kernel runs shows at the next download or wait.
  template <class Kernel>
  void operator()(const Kernel& kernel, int64_t blocks, size_t shared_bytes) const {
    if (blocks == 0) return;
    check_launch(Kernel::kName, blocks, shared_bytes, most_shared_);
    if (shared_bytes > 48 * 1024) {  // beyond what a kernel gets unasked
      check_cuda(
          cudaFuncSetAttribute(run_kernel<Kernel>, cudaFuncAttributeMaxDynamicSharedMemorySize,
                               static_cast<int>(shared_bytes)),
          Kernel::kName);
    }
    run_kernel<<<static_cast<unsigned>(blocks), Kernel::kThreads, shared_bytes, stream_>>>(kernel);
    check_cuda(cudaGetLastError(), Kernel::kName);
  }

  void* allocate(size_t bytes) override;
  void release(void* data) noexcept override;
  void clear(void* data, size_t bytes) override;
  void upload(void* to, const void* from, size_t bytes) override;
  void download(void* to, const void* from, size_t bytes) override;
  void product(const bf16* x, int64_t rows, const bf16* w, int64_t latents, int64_t depth,
               float* out) override;
  int64_t tile_bytes() const override { return tile_bytes_; }
  std::unique_ptr<InputRing> input_ring(size_t bytes) override;
  std::unique_ptr<Reading> reading(const void* from, size_t bytes) override;

  cudaStream_t stream() const { return stream_; }

 private:
  struct Product;  // a shape's plan
  const Product& plan(int64_t rows, int64_t latents, int64_t depth);

  cudaStream_t stream_ = nullptr;
  int64_t tile_bytes_ = 0;
  size_t most_shared_ = 0;  // bytes a block may have
  void* handle_ = nullptr;  // cublasLtHandle_t
  void* workspace_ = nullptr;
  std::map<std::tuple<int64_t, int64_t, int64_t>, std::unique_ptr<Product>> plans_;
};

}  // namespace assay
