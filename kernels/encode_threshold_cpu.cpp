#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <vector>

#include "kernels/back_ends.h"
#include "kernels/screening.h"

namespace assay {

namespace {

constexpr int64_t kCapacity =
    128;  // small: the rows of a tile then score the same latents at about the same time

/// Pairs of the rows of one tile, row by row.
struct Found {
  std::vector<int32_t> indices;
  std::vector<float> values, pre;
  void append(const Found& more) {
    indices.insert(indices.end(), more.indices.begin(), more.indices.end());
    values.insert(values.end(), more.values.begin(), more.values.end());
    pre.insert(pre.end(), more.pre.begin(), more.pre.end());
  }
};

/// One worker's scratch.
struct Scratch {
  Screening::Tile tile;
  std::vector<Found> rows;         // of the tile
  std::vector<int32_t> finalists;  // latents to be scored exactly
  std::vector<float> pre;          // of the finalists
};

class Sweep {
 public:
  Sweep(Context& context, ConstMatrix x, const Encoder& encoder, const float* theta, float band,
        NumericFlag& flag)
      : encoder_(encoder),
        screening_(context, x, encoder_, distance(encoder, theta, band)),
        theta_(theta),
        half_band_(band / 2),
        flag_(flag) {}

  const Screening& screening() const { return screening_; }

  /// The pairs of rows [first, first + rows), and how many each row has.
  void run_tile(Scratch& s, int64_t first, int64_t rows, Found& found, int64_t* counts) const {
    Screening::Tile& tile = s.tile;
    screening_.start(tile, kCapacity, first, rows);
    s.rows.assign(rows, {});
    for (int64_t r = 0; r < rows; ++r) {
      if (tile.usable[r]) tile.bar[r] = 0;
    }
    screening_.stream(tile, [&](int64_t r) { settle(s, r, first + r); });
    for (int64_t r = 0; r < rows; ++r) {
      if (tile.usable[r]) {
        settle(s, r, first + r);
      } else {
        s.finalists.resize(encoder_.w.rows);
        std::iota(s.finalists.begin(), s.finalists.end(), 0);
        decide(s, r, first + r);
      }
      counts[r] = static_cast<int64_t>(s.rows[r].indices.size());
      found.append(s.rows[r]);
    }
  }

 private:
  static std::vector<float> distance(const Encoder& e, const float* theta, float band) {
    std::vector<float> shift(e.w.rows);
    for (int64_t j = 0; j < e.w.rows; ++j) shift[j] = threshold_shift(e.bias[j], theta[j], band);
    return shift;
  }

  /// Score exactly what row r lists and can matter, and empty its list.
  void settle(Scratch& s, int64_t r, int64_t row) const {
    Screening::Tile& tile = s.tile;
    s.finalists.clear();
    for (int64_t c = r * kCapacity; c < r * kCapacity + tile.count[r]; ++c) {
      const int32_t j = tile.indices[c];
      if (tile.kept[c] + screening_.error(tile, r, j) >= 0) s.finalists.push_back(j);
    }
    tile.count[r] = 0;
    decide(s, r, row);
  }

  void decide(Scratch& s, int64_t r, int64_t row) const {
    const size_t count = s.finalists.size();
    s.pre.resize(count);
    screening_.rescore(row, s.finalists.data(), static_cast<int64_t>(count), s.pre.data());
    if (!std::all_of(s.pre.begin(), s.pre.end(), [](float v) { return std::isfinite(v); })) {
      flag_.raise(row);
      return;
    }
    Found& found = s.rows[r];
    for (size_t c = 0; c < count; ++c) {
      const float pre = s.pre[c], theta = theta_[s.finalists[c]];
      const bool active = pre > theta;
      if (!active && !(std::abs(pre - theta) < half_band_)) continue;
      found.indices.push_back(s.finalists[c]);
      found.values.push_back(active ? pre : 0.0f);
      found.pre.push_back(pre);
    }
  }

  Encoder encoder_;
  Screening screening_;
  const float* theta_;
  float half_band_;
  NumericFlag& flag_;
};

}  // namespace

void encode_threshold_cpu(Context& context, ConstMatrix x, const Encoder& encoder,
                          const float* theta, float band, SparseCodes& out, std::vector<float>* pre,
                          NumericFlag& flag) {
  Encoder unscaled = encoder;
  unscaled.rank_scale = nullptr;
  const Sweep sweep(context, x, unscaled, theta, band, flag);
  if (!sweep.screening().finite()) {
    if (x.rows > 0) flag.raise(0);
    return;
  }
  const int64_t rows = sweep.screening().tile_rows(context.pool().threads()),
                tiles = (x.rows + rows - 1) / rows;
  std::vector<Scratch> scratch(context.pool().threads());
  std::vector<Found> found(tiles);
  context.pool().run(tiles, [&](int64_t task, int worker) {
    const int64_t first = task * rows;
    sweep.run_tile(scratch[worker], first, std::min(rows, x.rows - first), found[task],
                   out.row_offsets.data() + first + 1);
  });
  std::partial_sum(out.row_offsets.begin(), out.row_offsets.end(), out.row_offsets.begin());
  Found all;
  for (Found& tile : found) {
    all.append(tile);
    tile = {};
  }
  out.indices.swap(all.indices);
  out.values.swap(all.values);
  if (pre != nullptr) pre->swap(all.pre);
}

}  // namespace assay
