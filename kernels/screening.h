// The screening pass that the encoders share: a reduced-precision product over tiles of rows, which
// lists for every row the latents whose score, as far as it can be wrong, reaches the row's bar.
//
//   score[i, j] = scale[j]·(x̃[i]·w̃_j) + shift[j]      x̃ = x + δx, w̃ = w + δw, both bf16
//   |score − exact| ≤ scale[j]·(‖δx‖‖w‖ + (‖x‖ + ‖δx‖)‖δw‖ + γ(‖x‖ + ‖δx‖)(‖w‖ + ‖δw‖) + φ)
//                     + rounding of the shift
// (Cauchy–Schwarz; γ covers the fp32 rounding of the screened and the canonical sum, φ the smallest
// numbers, which vdpbf16ps and AMX take for zero).
#pragma once

#include <algorithm>
#include <bit>
#include <cstdint>
#include <limits>
#include <vector>

#include "kernels/base/context.h"
#include "kernels/base/view.h"
#include "kernels/encode_topk.h"
#include "kernels/primitives.h"
#include "kernels/screen_bound.h"

namespace assay {

class Screening {
 public:
  static constexpr float kClosed =
      std::numeric_limits<float>::quiet_NaN();  // a threshold that no score reaches, not +∞
  /// A bar that every latent reaches, above the padding's −∞.
  static constexpr float kLowest = std::numeric_limits<float>::lowest();
  static constexpr int64_t kTileRows =
      192;  // of whole panels at every level; x stays in L2 while W streams past

  /// One worker's scratch, reused over its tiles.
  struct Tile {
    int64_t capacity = 0;          ///< candidates a row holds, at least one group
    std::vector<uint32_t> panels;  ///< x in bf16
    std::vector<float> scores;     ///< [panel rows, 32]
    std::vector<int32_t> indices;  ///< [rows, capacity]
    std::vector<float> kept;       ///< [rows, capacity]
    std::vector<int64_t> count;    ///< [rows] candidates listed
    /// [rows, whole panels] what the upper bound of a score must reach to be listed; kClosed stops
    /// listing
    std::vector<float> bar;
    /// [rows] 0: not finite, or too large to screen; its bar must stay closed
    std::vector<char> usable;
    /// [rows, whole panels] RowBound, each part by itself
    std::vector<float> by_norm, by_error;
    std::vector<float> threshold;  // [rows, whole panels] of one group, scratch
    std::vector<uint32_t> pairs;   // scratch of rounding
    std::vector<float> scratch;
  };

  /// `shift` [n] is added to the scaled product (it includes the bias).
  Screening(Context& context, ConstMatrix x, const Encoder& encoder, std::vector<float> shift);

  /// Are all weights, biases and scales finite?
  bool finite() const { return finite_; }

  /// How far the score of latent j can be from the exact one, for a row of the tile.
  float error(const Tile& tile, int64_t r, int32_t j) const {
    const ErrorTerms& own = terms_[j];
    return tile.by_norm[r] * own.by_norm + tile.by_error[r] * own.by_error + own.rest;
  }

  /// Rounds rows [first, first + rows) into the tile. The caller then sets the bars of usable rows.
  void start(Tile& tile, int64_t capacity, int64_t first, int64_t rows) const;

  /// Doubles the room of every row's list, whose candidates stay.
  static void widen(Tile& tile);

  /// Lists, group by group of 32 latents, what can reach each row's bar: a score plus the group's
  /// widest error. One latent of a large norm so widens its own group alone. `full(r)` is called
  /// when row r's list has no room for another group: it must make room, widen, or close the row's
  /// bar and set its count to 0.
  template <class Full>
  void stream(Tile& tile, const Full& full) const;

  /// The canonical fp32 x[row]·w_j + bias_j of each listed latent.
  void rescore(int64_t row, const int32_t* indices, int64_t count, float* pre) const;

  /// Rows a tile has: fewer than kTileRows where threads would idle.
  int64_t tile_rows(int threads) const {
    return std::clamp<int64_t>((x_.rows + threads - 1) / threads, 1, kTileRows);
  }

 private:
  const Primitives& p_;
  ConstMatrix x_;
  const Encoder& encoder_;
  /// Thresholds of a group for all rows of the tile: their bars less its widest error.
  void aim(Tile& tile, const Widest& group) const;

  std::vector<float> shift_, scale_;  ///< padded to whole groups: −∞, 1
  /// A latent's part in its error bound, side by side: candidates come in no order.
  struct ErrorTerms {
    float by_norm, by_error, rest, unused = 0;
  };
  std::vector<ErrorTerms> terms_;
  std::vector<Widest> groups_;
  Widest widest_;  ///< of all groups
  bool finite_ = true;
};

template <class Full>
void Screening::stream(Tile& tile, const Full& full) const {
  const Screen& screen = p_.screen;
  const ScreenCopy& w = *encoder_.screen;
  const auto rows = static_cast<int64_t>(tile.count.size());
  const int64_t panel_size = screen.panel_size(w.pairs());
  uint32_t hits[kMostPanelRows];
  for (int64_t g = 0; g < w.blocks() / 2; ++g) {
    aim(tile, groups_[g]);
    for (int64_t first = 0; first < rows; first += screen.rows) {
      uint32_t hit_rows = screen.product(
          tile.panels.data() + first / screen.rows * panel_size, w.block(2 * g), w.block(2 * g + 1),
          w.pairs(), scale_.data() + g * kScreenGroup, shift_.data() + g * kScreenGroup,
          tile.threshold.data() + first, tile.scores.data(), hits);
      for (; hit_rows != 0; hit_rows &= hit_rows - 1) {
        const int64_t in_panel = std::countr_zero(hit_rows), r = first + in_panel;
        int64_t& count = tile.count[r];
        const int64_t at = r * tile.capacity + count;
        count += p_.append(tile.scores.data() + in_panel * kScreenGroup, hits[in_panel],
                           static_cast<int32_t>(g * kScreenGroup), tile.indices.data() + at,
                           tile.kept.data() + at);
        if (count > tile.capacity - kScreenGroup) full(r);
      }
    }
  }
}

}  // namespace assay
