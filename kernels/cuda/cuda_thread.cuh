// The seam between a kernel's body and the machine: what one thread may ask of its block. A kernel
// is a struct of arguments with `template <class Thread> void operator()(Thread&) const`; nvcc
// instantiates it with DeviceThread, the tests with the emulator's Thread (same members), so one
// source runs on both.
#pragma once

#include <cstdint>

#ifdef __CUDACC__
#define ASSAY_DEVICE __device__
#else
#define ASSAY_DEVICE
#endif

namespace assay {

/// Lanes of a warp.
constexpr int kWarp = 32;

#ifdef __CUDACC__
/// All 32 lanes of a warp must reach each shuffle and vote together, all threads of the block each
/// barrier.
class DeviceThread {
 public:
  __device__ int thread() const { return static_cast<int>(threadIdx.x); }
  __device__ int64_t block() const { return blockIdx.x; }

  __device__ void sync() { __syncthreads(); }
  __device__ bool sync_or(bool mine) { return __syncthreads_or(mine) != 0; }
  template <class T>
  __device__ T shuffle_xor(T value, int mask) {
    return __shfl_xor_sync(kAllLanes, value, mask);
  }
  template <class T>
  __device__ T shuffle_up(T value, int delta) {
    return __shfl_up_sync(kAllLanes, value, delta);
  }
  template <class T>
  __device__ T shuffle(T value, int lane) {
    return __shfl_sync(kAllLanes, value, lane);
  }
  __device__ uint32_t ballot(bool mine) { return __ballot_sync(kAllLanes, mine); }

  __device__ unsigned char* shared() const {
    extern __shared__ __align__(16) unsigned char memory[];
    return memory;
  }
  __device__ static int count_bits(uint32_t bits) { return __popc(bits); }
  __device__ static void atomic_add(int* to, int value) { atomicAdd(to, value); }
  __device__ static int fetch_add(int* to, int value) { return atomicAdd(to, value); }
  __device__ static void atomic_or(uint32_t* to, uint32_t bits) { atomicOr(to, bits); }
  __device__ static void atomic_max(uint32_t* to, uint32_t value) { atomicMax(to, value); }
  __device__ static void atomic_min(long long* to, long long value) { atomicMin(to, value); }

 private:
  static constexpr unsigned kAllLanes = 0xffffffffu;
};
#endif

/// Σ a(i)·b(i) over i < count in the CPU's canonical order (kernels/primitives.h), by 16
/// neighbouring lanes of a warp: each gets the sum. All 32 lanes must call; the two halves may sum
/// different rows. Counts may differ between the halves (0 for none).
template <class Thread, class Left, class Right>
ASSAY_DEVICE float canonical_dot_of(Thread& t, int64_t count, Left a, Right b) {
  float sum = 0;
  for (int64_t i = t.thread() % 16; i < count; i += 16) sum = fmaf(a(i), b(i), sum);
  // Addition commutes, so both partners of an exchange hold the bits of lane i + lane (i + half).
  for (int half = 8; half > 0; half /= 2) sum += t.shuffle_xor(sum, half);
  return sum;
}
template <class Thread>
ASSAY_DEVICE float canonical_dot(Thread& t, const float* a, const float* b, int64_t count) {
  return canonical_dot_of(
      t, count, [a](int64_t i) { return a[i]; }, [b](int64_t i) { return b[i]; });
}

/// at(0) + at(1) + … + at(count − 1), one after another, by one whole warp: each lane gets the sum.
template <class Thread, class At>
ASSAY_DEVICE auto ordered_sum(Thread& t, int64_t count, At at) {
  decltype(at(int64_t{0})) sum = 0;
  for (int64_t base = 0; base < count; base += kWarp) {
    const int64_t own = base + t.thread() % kWarp, left = count - base;
    const auto value = own < count ? at(own) : 0;
    for (int lane = 0; lane < (left < kWarp ? left : kWarp); ++lane) sum += t.shuffle(value, lane);
  }
  return sum;
}

}  // namespace assay
