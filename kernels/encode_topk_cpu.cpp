#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <numeric>
#include <vector>

#include "kernels/back_ends.h"
#include "kernels/screening.h"

namespace assay {

namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kLowest = std::numeric_limits<float>::lowest();  // above the padding's −∞

/// One worker's scratch.
struct Scratch {
  Screening::Tile tile;
  std::vector<float> order;        // of the certificate, or of the ranks
  std::vector<int32_t> finalists;  // latents to be scored exactly
  std::vector<float> pre, ranks;   // of the finalists
};

class Search {
 public:
  Search(Context& context, ConstMatrix x, const Encoder& encoder, int64_t k, SparseCodes& out, NumericFlag& flag)
      : p_(primitives(context.isa())),
        encoder_(encoder),
        screening_(context, x, encoder, scaled_bias(encoder)),
        k_(k),
        out_(out),
        flag_(flag) {}

  const Screening& screening() const { return screening_; }

  void run_tile(Scratch& s, int64_t first, int64_t rows) const {
    Screening::Tile& tile = s.tile;
    screening_.start(tile, 2 * k_ + 256, first, rows);
    for (int64_t r = 0; r < rows; ++r) tile.threshold[r] = tile.usable[r] ? kLowest : kInfinity;
    screening_.stream(tile, [&](int64_t r) {
      compact(tile, r);
      if (tile.count[r] <= tile.capacity - kScreenGroup) return;
      tile.threshold[r] = kInfinity;  // near-ties: to the exact path
      tile.count[r] = 0;
    });
    for (int64_t r = 0; r < rows; ++r) finish_row(s, r, first + r);
  }

 private:
  static std::vector<float> scaled_bias(const Encoder& e) {
    std::vector<float> shift(e.bias, e.bias + e.w.rows);
    if (e.rank_scale == nullptr) return shift;
    for (int64_t j = 0; j < e.w.rows; ++j) shift[j] *= e.rank_scale[j];
    return shift;
  }

  /// A value that at least k of values[0, count) reach and that is close below the k-th largest: bisection counts whole
  /// vectors, which is an order of magnitude faster than selecting, and any such value is a valid bar.
  float kth_bound(const float* values, int64_t count) const {
    float low, high;
    p_.range(values, count, &low, &high);
    for (int round = 0; round < 16; ++round) {
      const float middle = low + (high - low) / 2;
      const int64_t reached = p_.count_at_least(values, count, middle);
      (reached >= k_ ? low : high) = middle;
      if (reached == k_) break;
    }
    return low;
  }

  /// Raise the row's threshold to what the k-th best so far proves, and drop what falls below it.
  void compact(Screening::Tile& tile, int64_t r) const {
    float* kept = tile.kept.data() + r * tile.capacity;
    int32_t* indices = tile.indices.data() + r * tile.capacity;
    const float bar = kth_bound(kept, tile.count[r]) - 2 * screening_.widest_error(tile.bound[r]);
    tile.threshold[r] = std::max(kLowest, bar);
    tile.count[r] = p_.filter(indices, kept, tile.count[r], tile.threshold[r]);
  }

  void finish_row(Scratch& s, int64_t r, int64_t row) const {
    s.finalists.clear();
    if (s.tile.count[r] >= k_) {
      compact(s.tile, r);
      certify(s, r);
    } else {  // overflow (near-ties), or a row that is not finite
      s.finalists.resize(encoder_.w.rows);
      std::iota(s.finalists.begin(), s.finalists.end(), 0);
    }
    const size_t count = s.finalists.size();
    s.pre.resize(count);
    screening_.rescore(row, s.finalists.data(), static_cast<int64_t>(count), s.pre.data());
    if (std::all_of(s.pre.begin(), s.pre.end(), [](float v) { return std::isfinite(v); })) {
      write_row(s, row);
    } else {
      flag_.raise(row);
      std::iota(out_.indices.begin() + row * k_, out_.indices.begin() + (row + 1) * k_, 0);
      std::fill_n(out_.values.begin() + row * k_, k_, 0.0f);
    }
  }

  /// Keep the candidates whose upper bound reaches the k-th best lower bound.
  void certify(Scratch& s, int64_t r) const {
    const Screening::Tile& tile = s.tile;
    const float* kept = tile.kept.data() + r * tile.capacity;
    const int32_t* indices = tile.indices.data() + r * tile.capacity;
    const int64_t count = tile.count[r];
    const Screening::RowBound& bound = tile.bound[r];
    s.order.resize(count);
    for (int64_t c = 0; c < count; ++c) s.order[c] = kept[c] - screening_.error(bound, indices[c]);
    const float bar = kth_bound(s.order.data(), count);
    for (int64_t c = 0; c < count; ++c) {
      if (kept[c] + screening_.error(bound, indices[c]) >= bar) s.finalists.push_back(indices[c]);
    }
  }

  /// Finalists stand in index order, so a stable choice by rank gives ties to the smaller index.
  void write_row(Scratch& s, int64_t row) const {
    const auto count = static_cast<int64_t>(s.finalists.size());
    s.ranks.assign(s.pre.begin(), s.pre.end());
    if (encoder_.rank_scale != nullptr) {
      for (int64_t c = 0; c < count; ++c) s.ranks[c] *= encoder_.rank_scale[s.finalists[c]];
    }
    float bar = kth_bound(s.ranks.data(), count);
    int64_t ties = count;
    if (p_.count_at_least(s.ranks.data(), count, bar) != k_) {  // ties at the cut, or values bisection cannot part
      s.order.assign(s.ranks.begin(), s.ranks.end());
      std::nth_element(s.order.begin(), s.order.begin() + (k_ - 1), s.order.end(), std::greater<>());
      bar = s.order[k_ - 1];
      ties = k_ - std::count_if(s.ranks.begin(), s.ranks.end(), [bar](float rank) { return rank > bar; });
    }
    int64_t at = row * k_;
    for (int64_t c = 0; c < count; ++c) {
      if (s.ranks[c] < bar || (s.ranks[c] == bar && ties-- <= 0)) continue;
      out_.indices[at] = s.finalists[c];
      out_.values[at++] = s.pre[c];
    }
  }

  const Primitives& p_;
  const Encoder& encoder_;
  Screening screening_;
  int64_t k_;
  SparseCodes& out_;
  NumericFlag& flag_;
};

}  // namespace

void encode_topk_cpu(Context& context, ConstMatrix x, const Encoder& encoder, int64_t k, SparseCodes& out,
                     NumericFlag& flag) {
  out.row_offsets.resize(x.rows + 1);
  for (int64_t i = 0; i <= x.rows; ++i) out.row_offsets[i] = i * k;
  out.indices.resize(x.rows * k);
  out.values.resize(x.rows * k);

  const Search search(context, x, encoder, k, out, flag);
  if (!search.screening().finite()) {
    for (int64_t p = 0; p < x.rows * k; ++p) {
      out.indices[p] = static_cast<int32_t>(p % k);
      out.values[p] = 0;
    }
    if (x.rows > 0) flag.raise(0);
    return;
  }
  const int64_t rows = search.screening().tile_rows(context.pool().threads());
  std::vector<Scratch> scratch(context.pool().threads());
  context.pool().run((x.rows + rows - 1) / rows, [&](int64_t task, int worker) {
    search.run_tile(scratch[worker], task * rows, std::min(rows, x.rows - task * rows));
  });
}

}  // namespace assay
