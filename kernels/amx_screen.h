// The screening product (kernels/primitives.h: Screen) on matrix tiles: 32 rows by 32 latents in
// four accumulators.
//
// The tiles are a template parameter, so the same code runs on the processor's AMX unit
// (primitives_amx.cpp) and, on any machine, on a model of it written from the instructions'
// definition (Intel 64 and IA-32 Architectures Software Developer's Manual, volume 2: LDTILECFG,
// TILELOADD, TDPBF16PS, TILESTORED), which the tests use.
//
// `Tiles` has eight tiles of 16 rows by 64 bytes, static: configure(); zero<T>(); load<T>(from,
// stride in bytes); multiply<C, A, B>(): C[m, n] += Σ_k A[m, 2k]·B[k, 2n] + A[m, 2k+1]·B[k, 2n+1],
// bf16 in, fp32 out; store<T>(to, stride); and compare(scores[32], scale, bias, threshold): scores
// become fma(score, scale, bias), returns the bits that reach it.
#pragma once

#include <algorithm>
#include <cstdint>

#include "kernels/primitives.h"

namespace assay {

template <class Tiles>
struct AmxScreen {
  static constexpr int64_t kRows = 32, kDeep = 16;  // rows of a panel; pairs of a tile

  static int64_t padded(int64_t pairs) { return (pairs + kDeep - 1) / kDeep * kDeep; }
  static int64_t panel_size(int64_t pairs) { return kRows * padded(pairs); }
  /// Row-major, pairs padded with zero.
  static void pack(const uint32_t* row, int64_t pairs, int64_t r, uint32_t* panel) {
    std::copy_n(row, pairs, panel + r * padded(pairs));
  }

  static uint32_t product(const uint32_t* panel, const uint32_t* w0, const uint32_t* w1,
                          int64_t pairs, const float* scale, const float* bias,
                          const float* threshold, float* scores, uint32_t* hits) {
    Tiles::configure();
    Tiles::template zero<0>();
    Tiles::template zero<1>();
    Tiles::template zero<2>();
    Tiles::template zero<3>();
    const int64_t stride = padded(pairs), whole = pairs / kDeep * kDeep;
    for (int64_t p = 0; p < whole; p += kDeep) {
      step(panel + p, stride, w0 + p * kScreenBlock, w1 + p * kScreenBlock);
    }
    if (whole < pairs) {  // what follows a block in memory is another block
      alignas(64) uint32_t tail[2][kDeep * kScreenBlock] = {};
      std::copy_n(w0 + whole * kScreenBlock, (pairs - whole) * kScreenBlock, tail[0]);
      std::copy_n(w1 + whole * kScreenBlock, (pairs - whole) * kScreenBlock, tail[1]);
      step(panel + whole, stride, tail[0], tail[1]);
    }
    constexpr int64_t kLine = kScreenGroup * sizeof(float);
    Tiles::template store<0>(scores, kLine);
    Tiles::template store<1>(scores + kScreenBlock, kLine);
    Tiles::template store<2>(scores + 16 * kScreenGroup, kLine);
    Tiles::template store<3>(scores + 16 * kScreenGroup + kScreenBlock, kLine);
    uint32_t hit_rows = 0;
    for (int64_t r = 0; r < kRows; ++r) {
      hits[r] = Tiles::compare(scores + r * kScreenGroup, scale, bias, threshold[r]);
      hit_rows |= static_cast<uint32_t>(hits[r] != 0) << r;
    }
    return hit_rows;
  }

  static constexpr Screen screen() { return {kRows, panel_size, pack, product}; }

 private:
  static void step(const uint32_t* x, int64_t stride, const uint32_t* w0, const uint32_t* w1) {
    constexpr int64_t kBytes = sizeof(uint32_t);
    Tiles::template load<4>(x, stride * kBytes);
    Tiles::template load<6>(w0, kScreenBlock * kBytes);
    Tiles::template load<7>(w1, kScreenBlock * kBytes);
    Tiles::template multiply<0, 4, 6>();
    Tiles::template multiply<1, 4, 7>();
    Tiles::template load<5>(x + 16 * stride, stride * kBytes);
    Tiles::template multiply<2, 5, 6>();
    Tiles::template multiply<3, 5, 7>();
  }
};

}  // namespace assay
