// The screening product on a model of the matrix tiles, written from the instructions' definition:
// every machine can prove the layout, the tails and the comparison of the code that AMX processors
// run.
#include "kernels/amx_screen.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <stdexcept>

#include "kernels/base/dtype.h"
#include "tests/support/reference.h"

namespace assay {
namespace {

using reference::normal;

/// Eight tiles of 16 rows by 64 bytes. Reading a tile that nobody wrote is an error.
struct ModelTiles {
  struct Tile {
    uint32_t cell[16][16];
    bool written;
  };
  static inline Tile tiles[8];
  static inline bool configured = false;

  static void configure() { configured = true; }
  static Tile& use(int t, bool writes) {
    if (!configured || (!writes && !tiles[t].written))
      throw std::logic_error("tile used before it was set");
    tiles[t].written = true;
    return tiles[t];
  }
  template <int T>
  static void zero() {
    std::memset(use(T, true).cell, 0, sizeof(Tile::cell));
  }
  template <int T>
  static void load(const void* from, int64_t stride) {
    for (int r = 0; r < 16; ++r) {
      std::memcpy(use(T, true).cell[r], static_cast<const char*>(from) + r * stride, 64);
    }
  }
  template <int T>
  static void store(void* to, int64_t stride) {
    for (int r = 0; r < 16; ++r)
      std::memcpy(static_cast<char*>(to) + r * stride, use(T, false).cell[r], 64);
  }
  template <int C, int A, int B>
  static void multiply() {
    const Tile &a = use(A, false), &b = use(B, false);
    Tile& c = use(C, false);
    for (int m = 0; m < 16; ++m) {
      for (int n = 0; n < 16; ++n) {
        auto sum = std::bit_cast<float>(c.cell[m][n]);
        for (int k = 0; k < 16; ++k) {
          for (int half : {0, 1}) sum += value(a.cell[m][k], half) * value(b.cell[k][n], half);
        }
        c.cell[m][n] = std::bit_cast<uint32_t>(sum);
      }
    }
  }
  static uint32_t compare(float* scores, const float* scale, const float* bias, float threshold) {
    uint32_t bits = 0;
    for (int j = 0; j < 32; ++j) {
      scores[j] = std::fma(scores[j], scale[j], bias[j]);
      if (scores[j] >= threshold) bits |= 1u << j;
    }
    return bits;
  }
  static float value(uint32_t pair, int half) {
    return std::bit_cast<float>(half == 0 ? pair << 16 : pair & 0xffff0000u);
  }
};

TEST(AmxScreen, MultipliesRoundedPairsAndCompares) {
  constexpr Screen screen = AmxScreen<ModelTiles>::screen();
  for (const int64_t pairs : {1, 15, 16, 17, 48, 53}) {
    for (ModelTiles::Tile& tile : ModelTiles::tiles) tile.written = false;
    const auto xs = normal(screen.rows * 2 * pairs, 1), ws = normal(32 * 2 * pairs, 2);
    const auto pair = [](float low, float high) {
      return to_bf16(low).bits | static_cast<uint32_t>(to_bf16(high).bits) << 16;
    };
    std::vector<uint32_t> panel(screen.panel_size(pairs)), row(pairs);
    // Exactly the two blocks: reading past them is an error that AddressSanitizer sees.
    std::vector<uint32_t> w0(pairs * 16), w1(pairs * 16);
    for (int64_t r = 0; r < screen.rows; ++r) {
      for (int64_t p = 0; p < pairs; ++p)
        row[p] = pair(xs[(r * pairs + p) * 2], xs[(r * pairs + p) * 2 + 1]);
      screen.pack(row.data(), pairs, r, panel.data());
    }
    for (int64_t j = 0; j < 32; ++j) {
      for (int64_t p = 0; p < pairs; ++p) {
        (j < 16 ? w0 : w1)[p * 16 + j % 16] =
            pair(ws[(j * pairs + p) * 2], ws[(j * pairs + p) * 2 + 1]);
      }
    }
    const auto scale = normal(32, 3), bias = normal(32, 4);
    auto threshold = normal(32, 5, 4);
    threshold[7] = std::numeric_limits<float>::infinity();
    std::vector<float> scores(32 * 32);
    std::vector<uint32_t> hits(32);
    const uint32_t rows = screen.product(panel.data(), w0.data(), w1.data(), pairs, scale.data(),
                                         bias.data(), threshold.data(), scores.data(), hits.data());
    for (int64_t r = 0; r < 32; ++r) {
      EXPECT_EQ(rows >> r & 1, hits[r] != 0 ? 1u : 0u);
      for (int64_t j = 0; j < 32; ++j) {
        double sum = 0;
        for (int64_t i = 0; i < 2 * pairs; ++i) {
          sum += static_cast<double>(to_float(to_bf16(xs[r * 2 * pairs + i]))) *
                 to_float(to_bf16(ws[j * 2 * pairs + i]));
        }
        const double score = sum * scale[j] + bias[j];
        EXPECT_NEAR(scores[r * 32 + j], score, 1e-3) << pairs << ": " << r << "," << j;
        if (std::abs(score - threshold[r]) > 1e-3) {
          EXPECT_EQ((hits[r] >> j & 1) != 0, score > threshold[r]);
        }
      }
    }
  }
}

}  // namespace
}  // namespace assay
