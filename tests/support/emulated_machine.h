// The emulator as a Machine (kernels/cuda/machine.h): guarded memory, kernels run at once, and a
// plain host product in place of cuBLASLt's.
#pragma once

#include <map>

#include "kernels/cuda/machine.h"
#include "tests/support/cuda_emulator.h"

namespace assay::emulator {

/// Its memory is poisoned with 0xff, and stands between guard words that `check` looks at.
class EmulatedMachine final : public Machine {
 public:
  static constexpr size_t kMostShared = 227 * 1024;  ///< bytes a block may have, as on sm_90

  /// `tile_bytes` small enough cuts even small products into several tiles.
  explicit EmulatedMachine(Order order = {}, int64_t tile_bytes = 64 * 1024)
      : launcher_{order}, tile_bytes_(tile_bytes) {}

  template <class Kernel>
  void operator()(const Kernel& kernel, int64_t blocks, size_t shared_bytes) const {
    check_launch(Kernel::kName, blocks, shared_bytes, kMostShared);
    launcher_(kernel, blocks, shared_bytes);
    check();
  }

  void* allocate(size_t bytes) override {
    auto memory = std::make_unique<GuardedBytes>(bytes);
    void* data = memory->data();
    std::memset(data, 0xff, bytes);
    memory_.emplace(data, std::move(memory));
    return data;
  }
  void release(void* data) noexcept override { memory_.erase(data); }
  void clear(void* data, size_t bytes) override { std::memset(data, 0, bytes); }
  void upload(void* to, const void* from, size_t bytes) override {
    ++waits_;
    std::memcpy(to, from, bytes);
  }
  void download(void* to, const void* from, size_t bytes) override {
    ++waits_;
    std::memcpy(to, from, bytes);
  }
  /// How often the host would have waited for a device: each copy but an input ring's, each reading
  /// not yet arrived.
  int64_t waits() const { return waits_; }

  void product(const bf16* x, int64_t rows, const bf16* w, int64_t latents, int64_t depth,
               float* out) override {
    for (int64_t i = 0; i < rows; ++i) {
      for (int64_t j = 0; j < latents; ++j) {
        float sum = 0;  // from the end: another order than any of the kernels'
        for (int64_t c = depth - 1; c >= 0; --c)
          sum += to_float(x[i * depth + c]) * to_float(w[j * depth + c]);
        out[i * latents + j] = sum;
      }
    }
    check();
  }
  int64_t tile_bytes() const override { return tile_bytes_; }

  std::unique_ptr<InputRing> input_ring(size_t bytes) override {
    return std::make_unique<Ring>(bytes);
  }
  std::unique_ptr<Reading> reading(const void* from, size_t bytes) override {
    return std::make_unique<LateReading>(from, bytes, waits_);
  }

  /// Throws Violation where something was written beside an allocation.
  void check() const {
    for (const auto& [data, memory] : memory_) memory->check();
  }

 private:
  class Ring final : public InputRing {
   public:
    explicit Ring(size_t bytes)
        : bytes_(bytes), host_(bytes), slots_{GuardedBytes(bytes), GuardedBytes(bytes)} {}
    void* host() override { return host_.data(); }
    const void* send() override {
      current_ = 1 - current_;
      std::memcpy(slots_[current_].data(), host_.data(), bytes_);
      std::memset(host_.data(), 0xff, bytes_);  // what is read late is a NaN
      return slots_[current_].data();
    }

   private:
    size_t bytes_;
    std::vector<unsigned char> host_;
    GuardedBytes slots_[2];
    int current_ = 0;
  };

  /// Arrives at the second question, as a copy does that takes its time.
  class LateReading final : public Reading {
   public:
    LateReading(const void* from, size_t bytes, int64_t& waits)
        : from_(from), copy_(bytes), waits_(waits) {}
    void request() override {
      std::memcpy(copy_.data(), from_, copy_.size());
      asked_ = 0;
    }
    bool arrived() const override { return ++asked_ >= 2; }
    const void* wait() override {
      if (asked_ < 2) ++waits_;
      return copy_.data();
    }

   private:
    const void* from_;
    std::vector<unsigned char> copy_;
    int64_t& waits_;
    mutable int asked_ = 0;
  };

  Launcher launcher_;
  int64_t tile_bytes_;
  int64_t waits_ = 0;
  std::map<void*, std::unique_ptr<GuardedBytes>> memory_;
};

}  // namespace assay::emulator
