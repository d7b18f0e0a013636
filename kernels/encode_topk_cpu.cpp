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

/// One worker's scratch.
struct Scratch {
  Screening::Tile tile;
  std::vector<float> order, errors;  // of the candidates, or of the ranks
  std::vector<float> ranks;          // of the finalists
  std::vector<int32_t> all;          // of the exact path: every latent, and its score
  std::vector<float> pre;
};

class Search {
 public:
  Search(Context& context, ConstMatrix x, const Encoder& encoder, int64_t k, SparseCodes& out,
         NumericFlag& flag)
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
    for (int64_t r = 0; r < rows; ++r) {
      if (tile.usable[r]) tile.bar[r] = Screening::kLowest;
    }
    screening_.stream(tile, [&](int64_t r) {
      compact(s, r);
      if (tile.count[r] <= tile.capacity / 2) return;
      if (2 * tile.capacity <= encoder_.w.rows / 2) return Screening::widen(tile);
      if (tile.count[r] <= tile.capacity - kScreenGroup) return;
      tile.bar[r] = Screening::kClosed;  // near-ties: to the exact path
      tile.count[r] = 0;
    });
    for (int64_t r = 0; r < rows; ++r) {
      if (tile.count[r] >= k_) {
        compact(s, r);
      } else {  // overflow (near-ties), or a row that is not finite
        tile.count[r] = 0;
        search_all(s, first + r);
      }
    }
    // A few finalists of every row before the next few of any: where k is a good part of n, rows
    // share their weights.
    constexpr int64_t kFew = 32;
    const int64_t most = *std::max_element(tile.count.begin(), tile.count.end());
    for (int64_t done = 0; done < most; done += kFew) {
      for (int64_t r = 0; r < rows; ++r) {
        const int64_t at = r * tile.capacity + done, count = std::min(kFew, tile.count[r] - done);
        if (count > 0)
          screening_.rescore(first + r, tile.indices.data() + at, count, tile.kept.data() + at);
      }
    }
    for (int64_t r = 0; r < rows; ++r) {
      const int64_t at = r * tile.capacity;
      if (tile.count[r] > 0)
        write_row(s, first + r, tile.indices.data() + at, tile.kept.data() + at, tile.count[r]);
    }
  }

 private:
  static std::vector<float> scaled_bias(const Encoder& e) {
    std::vector<float> shift(e.bias, e.bias + e.w.rows);
    if (e.rank_scale == nullptr) return shift;
    for (int64_t j = 0; j < e.w.rows; ++j) shift[j] *= e.rank_scale[j];
    return shift;
  }

  /// A value that at least k of values[0, count) reach and that is close below the k-th largest:
  /// bisection counts whole vectors, which is an order of magnitude faster than selecting, and any
  /// such value is a valid bar.
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

  /// Raise the row's bar to the k-th best lower bound, and drop the candidates whose upper bound
  /// does not reach it.
  void compact(Scratch& s, int64_t r) const {
    Screening::Tile& tile = s.tile;
    float* kept = tile.kept.data() + r * tile.capacity;
    int32_t* indices = tile.indices.data() + r * tile.capacity;
    const int64_t count = tile.count[r];
    s.order.resize(count);
    s.errors.resize(count);
    for (int64_t c = 0; c < count; ++c) {
      s.errors[c] = screening_.error(tile, r, indices[c]);
      s.order[c] = kept[c] - s.errors[c];
    }
    tile.bar[r] = std::max(tile.bar[r], kth_bound(s.order.data(), count));
    const float bar = tile.bar[r];
    int64_t left = 0;
    for (int64_t c = 0; c < count; ++c) {  // without a branch: about every other one stays
      indices[left] = indices[c];
      kept[left] = kept[c];
      left += kept[c] + s.errors[c] >= bar;
    }
    tile.count[r] = left;
  }

  /// The exact path: every latent is a finalist.
  void search_all(Scratch& s, int64_t row) const {
    s.all.resize(encoder_.w.rows);
    std::iota(s.all.begin(), s.all.end(), 0);
    s.pre.resize(s.all.size());
    const auto count = static_cast<int64_t>(s.all.size());
    screening_.rescore(row, s.all.data(), count, s.pre.data());
    write_row(s, row, s.all.data(), s.pre.data(), count);
  }

  /// The k best of the finalists, which stand in index order: ties go to the smaller index.
  void write_row(Scratch& s, int64_t row, const int32_t* indices, const float* pre,
                 int64_t count) const {
    if (!std::all_of(pre, pre + count, [](float v) { return std::isfinite(v); })) {
      flag_.raise(row);
      std::iota(out_.indices.begin() + row * k_, out_.indices.begin() + (row + 1) * k_, 0);
      std::fill_n(out_.values.begin() + row * k_, k_, 0.0f);
      return;
    }
    s.ranks.assign(pre, pre + count);
    if (encoder_.rank_scale != nullptr) {
      for (int64_t c = 0; c < count; ++c) s.ranks[c] *= encoder_.rank_scale[indices[c]];
    }
    float bar = kth_bound(s.ranks.data(), count);
    int64_t ties = count;
    if (p_.count_at_least(s.ranks.data(), count, bar) !=
        k_) {  // ties at the cut, or values bisection cannot part
      s.order.assign(s.ranks.begin(), s.ranks.end());
      std::nth_element(s.order.begin(), s.order.begin() + (k_ - 1), s.order.end(),
                       std::greater<>());
      bar = s.order[k_ - 1];
      ties = k_ - std::count_if(s.ranks.begin(), s.ranks.end(),
                                [bar](float rank) { return rank > bar; });
    }
    int64_t at = row * k_;
    for (int64_t c = 0; c < count; ++c) {
      if (s.ranks[c] < bar || (s.ranks[c] == bar && ties-- <= 0)) continue;
      out_.indices[at] = indices[c];
      out_.values[at++] = pre[c];
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

void encode_topk_cpu(Context& context, ConstMatrix x, const Encoder& encoder, int64_t k,
                     SparseCodes& out, NumericFlag& flag) {
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
