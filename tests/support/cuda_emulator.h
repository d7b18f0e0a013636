// Runs a CUDA kernel's body on the CPU, so that its logic is tested where there is no GPU.
//
// A kernel is a struct whose `template <class Thread> void operator()(Thread&) const` is one
// thread's work; Thread is the seam (kernels/cuda/cuda_thread.cuh on a device, the class below
// here). Blocks run one after another. A block's threads are fibres that run until they meet: at a
// barrier, a shuffle or a vote. Shared memory is exactly as large as asked for, poisoned with 0xff
// (a NaN, a −1) for every block, and fenced by guard words.
//
// What it cannot show: weak memory order between two meetings, alignment faults, speed. Nothing
// preempts a thread between two meetings, so a race shows as a result that depends on the order of
// threads: run every order.
#pragma once

#include <cstdint>
#include <cstring>
#include <functional>
#include <memory>
#include <source_location>
#include <stdexcept>
#include <vector>

namespace assay::emulator {

/// A kernel broke the rules of the machine: divergence at a meeting, a barrier not all threads
/// reach, a write outside an allocation.
class Violation : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// The order in which a block's threads take their turns: ascending or descending (each warp runs
/// on to the next barrier before another starts), or shuffled (any warp may go on; the lanes in
/// random turn).
struct Order {
  enum Kind { ascending, descending, shuffled } kind = ascending;
  uint64_t seed = 0;
};
/// What every case runs in: ascending, descending, and two seeded shuffles.
inline const Order kOrders[] = {
    {Order::ascending, 0}, {Order::descending, 0}, {Order::shuffled, 1}, {Order::shuffled, 2}};

using Site = std::source_location;

class Block;

/// One thread of the running block. Meetings identify themselves by their place in the source:
/// threads that meet at two different places have diverged.
class Thread {
 public:
  Thread(Block& block, int index) : block_(block), index_(index) {}
  int thread() const { return index_; }
  int64_t block() const;

  void sync(Site site = Site::current());
  /// A barrier that tells every thread whether any of them said yes.
  bool sync_or(bool mine, Site site = Site::current());
  /// The value of a lane of the warp.
  template <class T>
  T shuffle(T value, int lane, Site site = Site::current()) {
    static_assert(sizeof(T) <= sizeof(uint64_t));
    uint64_t payload = 0;
    std::memcpy(&payload, &value, sizeof(T));
    payload = exchange(payload, lane, site);
    std::memcpy(&value, &payload, sizeof(T));
    return value;
  }
  /// The value of lane (mine xor mask) of the warp.
  template <class T>
  T shuffle_xor(T value, int mask, Site site = Site::current()) {
    return shuffle(value, (index_ % 32) ^ mask, site);
  }
  /// The value of the lane `delta` below; a lane without one gets its own back.
  template <class T>
  T shuffle_up(T value, int delta, Site site = Site::current()) {
    return shuffle(value, index_ % 32 < delta ? index_ % 32 : index_ % 32 - delta, site);
  }
  /// Bit l = what lane l of the warp said.
  uint32_t ballot(bool mine, Site site = Site::current());
  bool any(bool mine, Site site = Site::current()) { return ballot(mine, site) != 0; }

  /// The block's shared memory.
  unsigned char* shared() const;
  static int count_bits(uint32_t bits) { return __builtin_popcount(bits); }
  static void atomic_add(int* to, int value) { *to += value; }
  static int fetch_add(int* to, int value) {
    const int before = *to;
    *to += value;
    return before;
  }
  static void atomic_or(uint32_t* to, uint32_t bits) { *to |= bits; }
  static void atomic_max(uint32_t* to, uint32_t value) { *to = value > *to ? value : *to; }
  static void atomic_min(long long* to, long long value) { *to = value < *to ? value : *to; }

 private:
  uint64_t exchange(uint64_t payload, int lane, Site site);

  Block& block_;
  int index_;
};

/// An array between guard words: a write beside it is found by check(), or at once under
/// AddressSanitizer.
class GuardedBytes {
 public:
  explicit GuardedBytes(size_t bytes);
  ~GuardedBytes();
  GuardedBytes(const GuardedBytes&) = delete;
  GuardedBytes& operator=(const GuardedBytes&) = delete;
  unsigned char* data() const { return memory_.get() + kGuard; }
  size_t size() const { return bytes_; }
  /// Throws Violation where a guard word has changed.
  void check() const;

 private:
  static constexpr size_t kGuard = 64;
  size_t bytes_, after_;  // after_: the guard behind ends a whole word
  std::unique_ptr<unsigned char[]> memory_;
};

/// A kernel argument in guarded memory, filled from a vector and read back into one.
template <class T>
class Guarded {
 public:
  explicit Guarded(const std::vector<T>& values)
      : bytes_(values.size() * sizeof(T)), count_(values.size()) {
    if (count_ != 0) std::memcpy(bytes_.data(), values.data(), bytes_.size());
  }
  T* data() const { return reinterpret_cast<T*>(bytes_.data()); }
  /// The contents; throws Violation where something was written beside them.
  std::vector<T> read() const {
    bytes_.check();
    return std::vector<T>(data(), data() + count_);
  }

 private:
  GuardedBytes bytes_;
  size_t count_;
};

/// Threads must be a multiple of the warp's 32.
void run_blocks(const std::function<void(Thread&)>& body, int64_t blocks, int threads,
                size_t shared_bytes, Order order);

/// Runs kernels as a device's launcher does.
struct Launcher {
  Order order;
  template <class Kernel>
  void operator()(const Kernel& kernel, int64_t blocks, size_t shared_bytes) const {
    run_blocks([&kernel](Thread& thread) { kernel(thread); }, blocks, Kernel::kThreads,
               shared_bytes, order);
  }
};

}  // namespace assay::emulator
