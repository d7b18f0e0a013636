#include "kernels/base/context.h"

#include <fmt/core.h>

#include <cstdlib>
#include <string>

#ifdef ASSAY_CUDA
#include "kernels/cuda/cuda_device.h"
#endif
#include "kernels/base/error.h"
#include "kernels/primitives.h"

namespace assay {

namespace {

Isa best_isa() {
  __builtin_cpu_init();
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
      __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq") &&
      __builtin_cpu_supports("avx512bf16")) {
    return amx_usable() ? Isa::amx : Isa::avx512;
  }
  return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") ? Isa::avx2 : Isa::scalar;
}

constexpr Isa kIsas[] = {Isa::scalar, Isa::avx2, Isa::avx512,
                         Isa::amx};  // each has all that the ones before have

Isa parse_isa(const std::string& name) {
  for (const Isa isa : kIsas) {
    if (name == name_of(isa)) return isa;
  }
  throw UsageError(fmt::format("ASSAY_ISA={}: expected scalar, avx2, avx512 or amx", name));
}

}  // namespace

const char* name_of(Isa isa) {
  constexpr const char* kNames[] = {"scalar", "avx2", "avx512", "amx"};
  return kNames[static_cast<int>(isa)];
}

Context::Context(ContextOptions options)
    : device_(options.device), isa_(best_isa()), pool_(options.threads) {
  if (device_ == Device::cuda) {
#ifdef ASSAY_CUDA
    if (cuda_device_count() == 0) {
      throw UsageError(
          "device cuda: no CUDA device (or no driver for one) on this machine; use device cpu");
    }
#else
    throw UsageError(
        "device cuda: no CUDA back end in this build; configure with ASSAY_CUDA=ON, or use device "
        "cpu");
#endif
  }
  if (const char* name = std::getenv("ASSAY_ISA")) force_isa(parse_isa(name));
}

void Context::force_isa(Isa isa) {
  if (const Isa best = best_isa(); isa > best) {
    std::string there;
    for (const Isa level : kIsas) {
      if (level <= best) there += std::string(" ") + name_of(level);
    }
    throw UsageError(
        fmt::format("instruction set {}: this processor lacks it; it has:{}", name_of(isa), there));
  }
  isa_ = isa;
}

}  // namespace assay
