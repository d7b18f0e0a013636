// How the CUDA back ends reach a device: launching a kernel's body, and staging host views through device memory.
#pragma once

#include <cuda_runtime.h>

#include <string>
#include <vector>

#include "kernels/cuda_thread.cuh"
#include "kernels/error.h"
#include "kernels/view.h"

namespace assay {

/// Throws Error naming the operation and the device's complaint.
inline void check_cuda(cudaError_t status, const char* operation) {
  if (status != cudaSuccess) throw Error(std::string(operation) + ": CUDA: " + cudaGetErrorString(status));
}

template <class Kernel>
__global__ void __launch_bounds__(Kernel::kThreads) run_kernel(const Kernel kernel) {
  DeviceThread thread;
  kernel(thread);
}

/// Launches on the default stream; what goes wrong while a kernel runs shows at the next copy.
struct DeviceLauncher {
  template <class Kernel>
  void operator()(const Kernel& kernel, int64_t blocks, size_t shared_bytes) const {
    if (blocks == 0) return;
    if (blocks > 2147483647) throw UsageError(std::string(Kernel::kName) + ": more rows than a CUDA grid holds");
    if (shared_bytes > 48 * 1024) {  // beyond what a kernel gets unasked; the device refuses more than it has
      check_cuda(cudaFuncSetAttribute(run_kernel<Kernel>, cudaFuncAttributeMaxDynamicSharedMemorySize,
                                      static_cast<int>(shared_bytes)),
                 Kernel::kName);
    }
    run_kernel<<<static_cast<unsigned>(blocks), Kernel::kThreads, shared_bytes>>>(kernel);
    check_cuda(cudaGetLastError(), Kernel::kName);
  }
};

/// An array in device memory.
template <class T>
class DeviceArray {
 public:
  explicit DeviceArray(int64_t count) : count_(count) {
    if (count != 0) check_cuda(cudaMalloc(&data_, count * sizeof(T)), "device memory");
  }
  DeviceArray(const T* from, int64_t count) : DeviceArray(count) {
    if (count != 0) check_cuda(cudaMemcpy(data_, from, count * sizeof(T), cudaMemcpyHostToDevice), "copy to device");
  }
  explicit DeviceArray(const std::vector<T>& from) : DeviceArray(from.data(), static_cast<int64_t>(from.size())) {}
  ~DeviceArray() { cudaFree(data_); }
  DeviceArray(const DeviceArray&) = delete;
  DeviceArray& operator=(const DeviceArray&) = delete;

  T* data() const { return data_; }
  void download(T* to) const {
    if (count_ == 0) return;
    check_cuda(cudaMemcpy(to, data_, count_ * sizeof(T), cudaMemcpyDeviceToHost), "copy from device");
  }

 private:
  T* data_ = nullptr;
  int64_t count_;
};

/// A matrix in device memory, its rows packed, copied from a host view of any stride.
class DeviceMatrix {
 public:
  explicit DeviceMatrix(ConstMatrix from) : DeviceMatrix(from.rows, from.cols) {
    if (from.rows == 0 || from.cols == 0) return;
    check_cuda(cudaMemcpy2D(array_.data(), width(), from.data, from.stride * sizeof(float), width(), rows_,
                            cudaMemcpyHostToDevice),
               "copy to device");
  }
  DeviceMatrix(int64_t rows, int64_t cols) : rows_(rows), cols_(cols), array_(rows * cols) {}

  Matrix view() const { return {array_.data(), rows_, cols_}; }
  void download(Matrix to) const {
    if (rows_ == 0 || cols_ == 0) return;
    check_cuda(cudaMemcpy2D(to.data, to.stride * sizeof(float), array_.data(), width(), width(), rows_,
                            cudaMemcpyDeviceToHost),
               "copy from device");
  }

 private:
  size_t width() const { return cols_ * sizeof(float); }

  int64_t rows_, cols_;
  DeviceArray<float> array_;
};

}  // namespace assay
