// The product: cuBLASLt, bf16 in, fp32 accumulated and out, no reduced-precision reduction; the
// first of its heuristics' algorithms for the shape, remembered. Tiles: a third of the L2 cache.
#include <cublasLt.h>

#include "kernels/cuda/cuda_machine.cuh"

namespace assay {

namespace {

constexpr size_t kWorkspace = 32 << 20;  // what cuBLASLt is advised to get on sm_90

void check_blas(cublasStatus_t status) {
  if (status != CUBLAS_STATUS_SUCCESS) {
    throw Error(std::string("matrix product: cuBLASLt: ") + cublasLtGetStatusString(status));
  }
}

class Event {
 public:
  Event() { check_cuda(cudaEventCreateWithFlags(&event_, cudaEventDisableTiming), "event"); }
  ~Event() { cudaEventDestroy(event_); }
  Event(const Event&) = delete;
  Event& operator=(const Event&) = delete;
  void record(cudaStream_t stream) { check_cuda(cudaEventRecord(event_, stream), "event"); }
  void hold(cudaStream_t stream) { check_cuda(cudaStreamWaitEvent(stream, event_), "event"); }
  void wait() { check_cuda(cudaEventSynchronize(event_), "wait"); }
  bool passed() const {
    const cudaError_t status = cudaEventQuery(event_);
    if (status != cudaErrorNotReady) check_cuda(status, "wait");
    return status == cudaSuccess;
  }

 private:
  cudaEvent_t event_ = nullptr;
};

/// Memory of the host that copies reach without a detour.
class Pinned {
 public:
  explicit Pinned(size_t bytes) { check_cuda(cudaMallocHost(&data_, bytes), "pinned memory"); }
  ~Pinned() { cudaFreeHost(data_); }
  Pinned(const Pinned&) = delete;
  Pinned& operator=(const Pinned&) = delete;
  void* data() const { return data_; }

 private:
  void* data_ = nullptr;
};

class Ring final : public InputRing {
 public:
  Ring(Machine& machine, cudaStream_t work, size_t bytes)
      : bytes_(bytes),
        work_(work),
        slots_{{bytes}, {bytes}},
        device_{{machine, static_cast<int64_t>(bytes)}, {machine, static_cast<int64_t>(bytes)}} {
    check_cuda(cudaStreamCreateWithFlags(&copies_, cudaStreamNonBlocking), "stream");
    for (Slot& slot : slots_) slot.used.record(work_);  // the memory is there
  }
  ~Ring() override {
    cudaStreamSynchronize(copies_);
    cudaStreamDestroy(copies_);
  }
  void* host() override {
    slots_[next_].sent.wait();
    return slots_[next_].host.data();
  }
  const void* send() override {
    if (sent_any_)
      slots_[1 - next_].used.record(work_);  // what was launched so far read the batch before
    Slot& slot = slots_[next_];
    slot.used.hold(copies_);
    check_cuda(cudaMemcpyAsync(device_[next_].data(), slot.host.data(), bytes_,
                               cudaMemcpyHostToDevice, copies_),
               "copy to device");
    slot.sent.record(copies_);
    slot.sent.hold(work_);
    sent_any_ = true;
    return device_[std::exchange(next_, 1 - next_)].data();
  }

 private:
  struct Slot {
    Slot(size_t bytes) : host(bytes) {}
    Pinned host;
    Event sent, used;
  };
  size_t bytes_;
  cudaStream_t work_, copies_ = nullptr;
  Slot slots_[2];
  Buffer<unsigned char> device_[2];
  int next_ = 0;
  bool sent_any_ = false;
};

class LaterReading final : public Reading {
 public:
  LaterReading(cudaStream_t stream, const void* from, size_t bytes)
      : stream_(stream), from_(from), bytes_(bytes), host_(bytes) {}
  ~LaterReading() override { cudaStreamSynchronize(stream_); }
  void request() override {
    check_cuda(cudaMemcpyAsync(host_.data(), from_, bytes_, cudaMemcpyDeviceToHost, stream_),
               "copy from device");
    done_.record(stream_);
  }
  bool arrived() const override { return done_.passed(); }
  const void* wait() override {
    done_.wait();
    return host_.data();
  }

 private:
  cudaStream_t stream_;
  const void* from_;
  size_t bytes_;
  Pinned host_;
  Event done_;
};

}  // namespace

struct DeviceMachine::Product {
  cublasLtMatmulDesc_t operation = nullptr;
  cublasLtMatrixLayout_t w = nullptr, x = nullptr, out = nullptr;
  cublasLtMatmulHeuristicResult_t chosen{};

  // Column-major to cuBLASLt: out [latents, rows] = wᵀ [latents, depth] · x [depth, rows].
  Product(cublasLtHandle_t handle, int64_t rows, int64_t latents, int64_t depth) {
    check_blas(cublasLtMatmulDescCreate(&operation, CUBLAS_COMPUTE_32F, CUDA_R_32F));
    const cublasOperation_t transposed = CUBLAS_OP_T;
    check_blas(cublasLtMatmulDescSetAttribute(operation, CUBLASLT_MATMUL_DESC_TRANSA, &transposed,
                                              sizeof transposed));
    check_blas(cublasLtMatrixLayoutCreate(&w, CUDA_R_16BF, depth, latents, depth));
    check_blas(cublasLtMatrixLayoutCreate(&x, CUDA_R_16BF, depth, rows, depth));
    check_blas(cublasLtMatrixLayoutCreate(&out, CUDA_R_32F, latents, rows, latents));
    cublasLtMatmulPreference_t preference = nullptr;
    check_blas(cublasLtMatmulPreferenceCreate(&preference));
    const size_t workspace = kWorkspace;
    const uint32_t reductions =
        CUBLASLT_REDUCTION_SCHEME_NONE | CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE;
    check_blas(cublasLtMatmulPreferenceSetAttribute(
        preference, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, &workspace, sizeof workspace));
    check_blas(cublasLtMatmulPreferenceSetAttribute(
        preference, CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK, &reductions, sizeof reductions));
    int found = 0;
    const auto status = cublasLtMatmulAlgoGetHeuristic(handle, operation, w, x, out, out,
                                                       preference, 1, &chosen, &found);
    cublasLtMatmulPreferenceDestroy(preference);
    check_blas(status);
    if (found == 0) throw Error("matrix product: cuBLASLt has no algorithm for this shape");
  }
  ~Product() {
    cublasLtMatrixLayoutDestroy(w);
    cublasLtMatrixLayoutDestroy(x);
    cublasLtMatrixLayoutDestroy(out);
    cublasLtMatmulDescDestroy(operation);
  }
  Product(const Product&) = delete;
  Product& operator=(const Product&) = delete;
};

DeviceMachine::DeviceMachine() {
  int device = 0, l2 = 0, shared = 0;
  check_cuda(cudaGetDevice(&device), "device");
  check_cuda(cudaDeviceGetAttribute(&l2, cudaDevAttrL2CacheSize, device), "device");
  tile_bytes_ = l2 / 3;
  check_cuda(cudaDeviceGetAttribute(&shared, cudaDevAttrMaxSharedMemoryPerBlockOptin, device),
             "device");
  most_shared_ = static_cast<size_t>(shared);
  check_cuda(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking), "stream");
}

DeviceMachine::~DeviceMachine() {
  plans_.clear();
  if (workspace_ != nullptr) cudaFreeAsync(workspace_, stream_);
  cudaStreamSynchronize(stream_);
  if (handle_ != nullptr) cublasLtDestroy(static_cast<cublasLtHandle_t>(handle_));
  cudaStreamDestroy(stream_);
}

void* DeviceMachine::allocate(size_t bytes) {
  void* data = nullptr;
  if (bytes != 0) check_cuda(cudaMallocAsync(&data, bytes, stream_), "device memory");
  return data;
}

void DeviceMachine::release(void* data) noexcept {
  if (data != nullptr) cudaFreeAsync(data, stream_);
}

void DeviceMachine::clear(void* data, size_t bytes) {
  if (bytes != 0) check_cuda(cudaMemsetAsync(data, 0, bytes, stream_), "device memory");
}

void DeviceMachine::upload(void* to, const void* from, size_t bytes) {
  check_cuda(cudaMemcpyAsync(to, from, bytes, cudaMemcpyHostToDevice, stream_), "copy to device");
  check_cuda(cudaStreamSynchronize(stream_), "copy to device");
}

void DeviceMachine::download(void* to, const void* from, size_t bytes) {
  check_cuda(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToHost, stream_), "copy from device");
  check_cuda(cudaStreamSynchronize(stream_), "copy from device");
}

const DeviceMachine::Product& DeviceMachine::plan(int64_t rows, int64_t latents, int64_t depth) {
  if (handle_ == nullptr) {
    cublasLtHandle_t handle = nullptr;
    check_blas(cublasLtCreate(&handle));
    handle_ = handle;
    workspace_ = allocate(kWorkspace);
  }
  auto& plan = plans_[{rows, latents, depth}];
  if (!plan)
    plan = std::make_unique<Product>(static_cast<cublasLtHandle_t>(handle_), rows, latents, depth);
  return *plan;
}

void DeviceMachine::product(const bf16* x, int64_t rows, const bf16* w, int64_t latents,
                            int64_t depth, float* out) {
  const Product& p = plan(rows, latents, depth);
  const float one = 1, zero = 0;
  check_blas(cublasLtMatmul(static_cast<cublasLtHandle_t>(handle_), p.operation, &one, w, p.w, x,
                            p.x, &zero, out, p.out, out, p.out, &p.chosen.algo, workspace_,
                            kWorkspace, stream_));
}

std::unique_ptr<InputRing> DeviceMachine::input_ring(size_t bytes) {
  return std::make_unique<Ring>(*this, stream_, bytes);
}

std::unique_ptr<Reading> DeviceMachine::reading(const void* from, size_t bytes) {
  return std::make_unique<LaterReading>(stream_, from, bytes);
}

}  // namespace assay
