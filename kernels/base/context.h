// What an operation runs on: the device and the thread pool. One a process, passed by reference.
#pragma once

#include <string>

#include "kernels/base/thread_pool.h"

namespace assay {

enum class Device { cpu, cuda };

/// Instruction sets the CPU back end chooses among at run time. Every level gives the same bits.
enum class Isa { scalar, avx2, avx512, amx };
/// "scalar", "avx2", "avx512" or "amx".
const char* name_of(Isa isa);

struct ContextOptions {
  Device device = Device::cpu;
  int threads = 0;  ///< 0 = the processors this process may run on
};

class Context {
 public:
  /// Throws UsageError where the device has no back end in this build or no hardware on this
  /// machine.
  explicit Context(ContextOptions options = {});
  Device device() const { return device_; }
  ThreadPool& pool() { return pool_; }
  /// The best level this processor has, unless lowered by force_isa (tests) or
  /// ASSAY_ISA=scalar|avx2|avx512|amx.
  Isa isa() const { return isa_; }
  /// Throws UsageError, naming the levels there are, where this processor lacks the one asked for.
  void force_isa(Isa isa);

 private:
  Device device_;
  Isa isa_;
  ThreadPool pool_;
};

}  // namespace assay
