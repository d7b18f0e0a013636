// AMX: the screening product on the processor's matrix unit; everything else as in AVX-512. Proven
// on a model of the tiles (tests/kernels/amx_screen_test.cpp); the processors it was written on
// have no AMX, so its speed is not measured.
#include <asm/prctl.h>
#include <cpuid.h>
#include <immintrin.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "kernels/amx_screen.h"
#include "kernels/primitives.h"

namespace assay {

namespace {

/// In assembly: GCC 12's intrinsics take literal tile numbers only, no template parameters.
struct HardwareTiles {
  /// Palette 1, eight tiles of 16 rows by 64 bytes. Before every product: other libraries set up
  /// the tiles of a thread, too, and it costs little beside one.
  static void configure() {
    static const struct alignas(64) {
      uint8_t palette = 1, start_row = 0, reserved[14] = {};
      uint16_t bytes_a_row[16] = {64, 64, 64, 64, 64, 64, 64, 64};
      uint8_t rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
    } config;
    static_assert(sizeof(config) == 64);
    _tile_loadconfig(&config);
  }
  template <int T>
  static void zero() {
    asm volatile("tilezero %%tmm%c0" ::"i"(T));
  }
  template <int T>
  static void load(const void* from, int64_t stride) {
    asm volatile("tileloadd (%1,%2,1), %%tmm%c0" ::"i"(T), "r"(from), "r"(stride) : "memory");
  }
  template <int C, int A, int B>
  static void multiply() {
    asm volatile("tdpbf16ps %%tmm%c2, %%tmm%c1, %%tmm%c0" ::"i"(C), "i"(A), "i"(B));
  }
  template <int T>
  static void store(void* to, int64_t stride) {
    asm volatile("tilestored %%tmm%c0, (%1,%2,1)" ::"i"(T), "r"(to), "r"(stride) : "memory");
  }
  static uint32_t compare(float* scores, const float* scale, const float* bias, float threshold) {
    const __m512 bar = _mm512_set1_ps(threshold);
    uint32_t bits = 0;
    for (int j = 0; j < 32; j += 16) {
      const __m512 score = _mm512_fmadd_ps(_mm512_loadu_ps(scores + j), _mm512_loadu_ps(scale + j),
                                           _mm512_loadu_ps(bias + j));
      _mm512_storeu_ps(scores + j, score);
      bits |= static_cast<uint32_t>(_mm512_cmp_ps_mask(score, bar, _CMP_GE_OQ)) << j;
    }
    return bits;
  }
};

}  // namespace

bool amx_usable() {
  constexpr unsigned kBf16 = 1u << 22, kTile = 1u << 24;  // CPUID.7.0:EDX
  unsigned a, b, c, d;
  if (!__get_cpuid_count(7, 0, &a, &b, &c, &d) || (d & kBf16) == 0 || (d & kTile) == 0)
    return false;
  // The kernel hands out the tiles' state on request, to the whole process.
  constexpr long kRequestPermission = 0x1023, kTileData = 18;
  static const bool granted = syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
  return granted;
}

const Primitives& amx_primitives() {
  static const Primitives table = [] {
    Primitives result = kAvx512Primitives;
    result.screen = AmxScreen<HardwareTiles>::screen();
    return result;
  }();
  return table;
}

}  // namespace assay
