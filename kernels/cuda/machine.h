// The seam between the host side of the device operations and the machine that runs their kernels:
// memory, copies and the matrix product. A device's machine is cuda_machine.cuh's, the tests' is
// tests/support/emulated_machine.h. Both also launch kernels: machine(kernel, blocks, shared
// bytes).
//
// Work is queued in order and may run later; only download, host and wait make the caller wait for
// it.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <memory>
#include <type_traits>
#include <vector>

#include "kernels/base/dtype.h"
#include "kernels/base/view.h"

namespace assay {

/// Two buffers on the host and two on the machine, so that one batch travels while another is
/// worked on.
class InputRing {
 public:
  virtual ~InputRing() = default;
  /// Where the caller may write the next batch; waits until the batch before last has left this
  /// buffer.
  virtual void* host() = 0;
  /// Sends it. Kernels launched from here on read the result, up to the next send.
  virtual const void* send() = 0;
};

/// Reads a few bytes of the machine's memory without making the caller wait.
class Reading {
 public:
  virtual ~Reading() = default;
  /// Queues the copy; the one before must have been waited for or have arrived.
  virtual void request() = 0;
  virtual bool arrived() const = 0;
  /// Waits for the copy and gives it.
  virtual const void* wait() = 0;
};

class Machine {
 public:
  virtual ~Machine() = default;
  /// Memory of the machine, its content undefined. Throws Error where there is not enough.
  virtual void* allocate(size_t bytes) = 0;
  virtual void release(void* data) noexcept = 0;
  virtual void clear(void* data, size_t bytes) = 0;
  /// `from` may be changed when the call returns.
  virtual void upload(void* to, const void* from, size_t bytes) = 0;
  virtual void download(void* to, const void* from, size_t bytes) = 0;
  /// out [rows, latents] = x [rows, depth] · wᵀ, w [latents, depth]: bf16 products summed in fp32,
  /// in any order. All packed; depth is a multiple of kProductDepth.
  virtual void product(const bf16* x, int64_t rows, const bf16* w, int64_t latents, int64_t depth,
                       float* out) = 0;
  /// Bytes of a product that stay in the machine's cache.
  virtual int64_t tile_bytes() const = 0;
  virtual std::unique_ptr<InputRing> input_ring(size_t bytes) = 0;
  virtual std::unique_ptr<Reading> reading(const void* from, size_t bytes) = 0;
};

/// What a machine's 32-bit counters hold: blocks of a launch, pairs of a sort.
constexpr int64_t kMostCounted = 2147483647;

/// Throws UsageError, naming the kernel and the limit, where a machine that has `most_shared` bytes
/// of shared memory a block cannot launch a kernel so.
void check_launch(const char* kernel, int64_t blocks, size_t shared_bytes, size_t most_shared);

/// bf16 rows are padded with zeros to a multiple of this many elements (16 bytes).
constexpr int64_t kProductDepth = 8;
constexpr int64_t padded_depth(int64_t d) {
  return (d + kProductDepth - 1) / kProductDepth * kProductDepth;
}

/// Blocks that cover `count` things, `each` a block.
constexpr int64_t blocks_of(int64_t count, int64_t each) { return (count + each - 1) / each; }

/// An array in a machine's memory.
template <class T>
class Buffer {
  static_assert(std::is_trivially_copyable_v<T>);

 public:
  Buffer(Machine& machine, int64_t count)
      : machine_(machine), count_(count), data_(static_cast<T*>(machine.allocate(bytes()))) {}
  Buffer(Machine& machine, const T* from, int64_t count) : Buffer(machine, count) { upload(from); }
  Buffer(Machine& machine, const std::vector<T>& from)
      : Buffer(machine, from.data(), static_cast<int64_t>(from.size())) {}
  ~Buffer() { machine_.release(data_); }
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;

  T* data() const { return data_; }
  int64_t count() const { return count_; }
  void clear() const { machine_.clear(data_, bytes()); }
  void upload(const T* from) const {
    if (count_ > 0) machine_.upload(data_, from, bytes());
  }
  void download(T* to) const {
    if (count_ > 0) machine_.download(to, data_, bytes());
  }
  std::vector<T> read() const {
    std::vector<T> values(count_);
    download(values.data());
    return values;
  }

 private:
  size_t bytes() const { return static_cast<size_t>(count_) * sizeof(T); }

  Machine& machine_;
  int64_t count_;
  T* data_;
};

/// A matrix in a machine's memory, its rows packed, copied from a host view of any stride.
class DeviceMatrix {
 public:
  DeviceMatrix(Machine& machine, int64_t rows, int64_t cols)
      : rows_(rows), cols_(cols), buffer_(machine, rows * cols) {}
  DeviceMatrix(Machine& machine, ConstMatrix from) : DeviceMatrix(machine, from.rows, from.cols) {
    std::vector<float> packed(rows_ * cols_);
    for (int64_t i = 0; i < rows_; ++i) std::copy_n(from.row(i), cols_, packed.data() + i * cols_);
    buffer_.upload(packed.data());
  }

  Matrix view() const { return {buffer_.data(), rows_, cols_}; }
  void download(Matrix to) const {
    const std::vector<float> packed = buffer_.read();
    for (int64_t i = 0; i < rows_; ++i) std::copy_n(packed.data() + i * cols_, cols_, to.row(i));
  }

 private:
  int64_t rows_, cols_;
  Buffer<float> buffer_;
};

}  // namespace assay
