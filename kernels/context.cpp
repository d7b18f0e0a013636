#include "kernels/context.h"

#include <fmt/core.h>

#include <cstdlib>
#include <string>

#ifdef ASSAY_CUDA
#include "kernels/cuda_device.h"
#endif
#include "kernels/error.h"
#include "kernels/primitives.h"

namespace assay {

namespace {

Isa best_isa() {
  __builtin_cpu_init();
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") &&
      __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512bf16")) {
    return amx_usable() ? Isa::amx : Isa::avx512;
  }
  return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") ? Isa::avx2 : Isa::scalar;
}

Isa parse_isa(const std::string& name) {
  if (name == "scalar") return Isa::scalar;
  if (name == "avx2") return Isa::avx2;
  if (name == "avx512") return Isa::avx512;
  if (name == "amx") return Isa::amx;
  throw UsageError(fmt::format("ASSAY_ISA={}: expected scalar, avx2, avx512 or amx", name));
}

}  // namespace

Context::Context(ContextOptions options) : device_(options.device), isa_(best_isa()), pool_(options.threads) {
  if (device_ == Device::cuda) {
#ifdef ASSAY_CUDA
    if (cuda_device_count() == 0) {
      throw UsageError("device cuda: no CUDA device (or no driver for one) on this machine; use device cpu");
    }
#else
    throw UsageError("device cuda: no CUDA back end in this build; configure with ASSAY_CUDA=ON, or use device cpu");
#endif
  }
  if (const char* name = std::getenv("ASSAY_ISA")) force_isa(parse_isa(name));
}

void Context::force_isa(Isa isa) {
  if (isa > best_isa()) throw UsageError("this processor lacks the instruction set that was asked for");
  isa_ = isa;
}

}  // namespace assay
