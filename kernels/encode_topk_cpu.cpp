#include <fmt/core.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <vector>

#include "kernels/back_ends.h"
#include "kernels/error.h"
#include "kernels/primitives.h"

namespace assay {

namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kLowest = std::numeric_limits<float>::lowest();  // above the padding's bias of −∞
constexpr int64_t kGroup = 2 * kScreenBlock;                     // latents a screening call covers

/// Largest terms of the error bound over all latents: the uniform bound that streaming uses.
struct Widest {
  float norm = 0, error = 0, bias = 0;
};

struct RowBound {
  float by_norm, by_error;  // e_ij = by_norm·‖w_j‖ + by_error·‖δw_j‖ + bias rounding
};

struct Candidate {
  float score;
  int32_t index;
};

float bias_rounding(float bias) { return std::abs(bias) * 0x1p-22f; }

/// One worker's scratch, reused over its tiles.
struct Tile {
  int64_t capacity, d, pairs;
  std::vector<uint32_t> x;  // [panels, pairs, 12]
  std::vector<uint32_t> row_pairs;
  std::vector<float> scores;     // [rows, 32]
  std::vector<int32_t> indices;  // [rows, capacity]
  std::vector<float> kept;       // [rows, capacity]
  std::vector<int64_t> count;    // [rows]; −1 = hand the row to the exact path
  std::vector<float> threshold;
  std::vector<RowBound> bound;
  std::vector<float> order;  // scratch of the selection, [capacity]
  std::vector<Candidate> finalists;

  void resize(int64_t rows) {
    const int64_t panels = (rows + kPanel - 1) / kPanel;
    x.assign(panels * pairs * kPanel, 0);
    row_pairs.resize(pairs);
    scores.resize(panels * kPanel * kGroup);
    indices.resize(rows * capacity);
    kept.resize(rows * capacity);
    count.resize(rows);
    threshold.resize(rows);
    bound.resize(rows);
    order.resize(std::max(capacity, d));
  }
};

class Search {
 public:
  Search(Context& context, ConstMatrix x, const Encoder& encoder, int64_t k, SparseCodes& out, NumericFlag& flag)
      : p_(primitives(context.isa())), x_(x), encoder_(encoder), k_(k), out_(out), flag_(flag) {
    for (int64_t j = 0; j < encoder.w.rows; ++j) {
      widest_.norm = std::max(widest_.norm, encoder.screen->norm()[j]);
      widest_.error = std::max(widest_.error, encoder.screen->error()[j]);
      widest_.bias = std::max(widest_.bias, bias_rounding(encoder.bias[j]));
      finite_ = finite_ && std::isfinite(encoder.screen->norm()[j]) && std::isfinite(encoder.bias[j]);
    }
    padded_bias_.assign(encoder.screen->blocks() * kScreenBlock, -kInfinity);
    std::copy_n(encoder.bias, encoder.w.rows, padded_bias_.begin());
  }

  /// Are all weights finite (with finite norms)?
  bool finite() const { return finite_; }

  void run_tile(Tile& tile, int64_t first, int64_t rows) const {
    tile.resize(rows);
    for (int64_t r = 0; r < rows; ++r) start_row(tile, r, first + r);
    const int64_t groups = encoder_.screen->blocks() / 2;
    for (int64_t g = 0; g < groups; ++g) {
      for (int64_t panel = 0; panel * kPanel < rows; ++panel) {
        p_.screen(tile.x.data() + panel * tile.pairs * kPanel, encoder_.screen->block(2 * g),
                  encoder_.screen->block(2 * g + 1), tile.pairs, tile.scores.data() + panel * kPanel * kGroup);
      }
      for (int64_t r = 0; r < rows; ++r) {
        if (tile.count[r] >= 0) keep(tile, r, g);
      }
    }
    for (int64_t r = 0; r < rows; ++r) finish_row(tile, r, first + r);
  }

 private:
  void start_row(Tile& tile, int64_t r, int64_t row) const {
    const int64_t d = x_.cols;
    const RoundedRow rounded = round_row(p_, x_.row(row), d, tile.row_pairs.data(), tile.order.data());
    uint32_t* panel = tile.x.data() + r / kPanel * tile.pairs * kPanel + r % kPanel;
    for (int64_t p = 0; p < tile.pairs; ++p) panel[p * kPanel] = tile.row_pairs[p];
    // γ: d + 16 roundings of each of two sums, doubled for safety; also covers the products of small terms.
    const float gamma = static_cast<float>(d + 16) * 0x1p-22f;
    const float length = rounded.norm + rounded.error;
    tile.bound[r] = {rounded.error + gamma * length, length * (1 + gamma)};
    tile.threshold[r] = kLowest;
    tile.count[r] = std::isfinite(rounded.norm) ? 0 : -1;
  }

  float widest_error(const RowBound& b) const {
    return b.by_norm * widest_.norm + b.by_error * widest_.error + widest_.bias;
  }

  void keep(Tile& tile, int64_t r, int64_t group) const {
    int64_t& count = tile.count[r];
    const int64_t base = r * tile.capacity;
    count += p_.select(tile.scores.data() + r * kGroup, padded_bias_.data() + group * kGroup, tile.threshold[r],
                       static_cast<int32_t>(group * kGroup), tile.indices.data() + base + count,
                       tile.kept.data() + base + count);
    if (count > tile.capacity - kGroup) compact(tile, r);
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
  void compact(Tile& tile, int64_t r) const {
    int64_t& count = tile.count[r];
    float* kept = tile.kept.data() + r * tile.capacity;
    int32_t* indices = tile.indices.data() + r * tile.capacity;
    tile.threshold[r] = std::max(kLowest, kth_bound(kept, count) - 2 * widest_error(tile.bound[r]));
    const int64_t left = p_.filter(indices, kept, count, tile.threshold[r]);
    count = left > tile.capacity - kGroup ? -1 : left;
  }

  void finish_row(Tile& tile, int64_t r, int64_t row) const {
    auto& finalists = tile.finalists;
    finalists.clear();
    if (tile.count[r] >= k_) compact(tile, r);
    if (tile.count[r] >= k_) {
      certify(tile, r);
    } else {
      // Overflow (near-ties), or a row that is not finite.
      for (int64_t j = 0; j < encoder_.w.rows; ++j) finalists.push_back({0, static_cast<int32_t>(j)});
    }
    rescore(finalists, row);
    write_row(finalists, row);
  }

  /// Keep the candidates whose upper bound reaches the k-th best lower bound.
  void certify(Tile& tile, int64_t r) const {
    const float* kept = tile.kept.data() + r * tile.capacity;
    const int32_t* indices = tile.indices.data() + r * tile.capacity;
    const int64_t count = tile.count[r];
    const auto error = [&](int32_t j) {
      return tile.bound[r].by_norm * encoder_.screen->norm()[j] + tile.bound[r].by_error * encoder_.screen->error()[j] +
             bias_rounding(encoder_.bias[j]);
    };
    for (int64_t c = 0; c < count; ++c) tile.order[c] = kept[c] - error(indices[c]);
    const float bar = kth_bound(tile.order.data(), count);
    for (int64_t c = 0; c < count; ++c) {
      if (kept[c] + error(indices[c]) >= bar) tile.finalists.push_back({0, indices[c]});
    }
  }

  /// The canonical fp32 scores, four at a time.
  void rescore(std::vector<Candidate>& finalists, int64_t row) const {
    const float* x = x_.row(row);
    size_t c = 0;
    for (; c + 4 <= finalists.size(); c += 4) {
      const float* rows[4];
      float scores[4];
      for (int i = 0; i < 4; ++i) rows[i] = encoder_.w.row(finalists[c + i].index);
      p_.dot4(x, rows, x_.cols, scores);
      for (int i = 0; i < 4; ++i) finalists[c + i].score = scores[i] + encoder_.bias[finalists[c + i].index];
    }
    for (; c < finalists.size(); ++c) {
      finalists[c].score = p_.dot(x, encoder_.w.row(finalists[c].index), x_.cols) + encoder_.bias[finalists[c].index];
    }
  }

  void write_row(std::vector<Candidate>& finalists, int64_t row) const {
    const bool finite = std::all_of(finalists.begin(), finalists.end(),
                                    [](const Candidate& candidate) { return std::isfinite(candidate.score); });
    int32_t* indices = out_.indices.data() + row * k_;
    float* values = out_.values.data() + row * k_;
    if (!finite) {
      flag_.raise(row);
      std::iota(indices, indices + k_, 0);
      std::fill_n(values, k_, 0.0f);
      return;
    }
    const auto better = [](const Candidate& a, const Candidate& b) {
      return a.score > b.score || (a.score == b.score && a.index < b.index);
    };
    std::nth_element(finalists.begin(), finalists.begin() + (k_ - 1), finalists.end(), better);
    std::sort(finalists.begin(), finalists.begin() + k_,
              [](const Candidate& a, const Candidate& b) { return a.index < b.index; });
    for (int64_t c = 0; c < k_; ++c) {
      indices[c] = finalists[c].index;
      values[c] = finalists[c].score;
    }
  }

  const Primitives& p_;
  ConstMatrix x_;
  const Encoder& encoder_;
  int64_t k_;
  SparseCodes& out_;
  NumericFlag& flag_;
  Widest widest_;
  bool finite_ = true;
  std::vector<float> padded_bias_;
};

void check(ConstMatrix x, const Encoder& e, int64_t k) {
  if (x.cols != e.w.cols) {
    throw UsageError(fmt::format("encode_topk: activations have d = {}, the encoder has d = {}", x.cols, e.w.cols));
  }
  if (k < 1 || k > e.w.rows) {
    throw UsageError(fmt::format("encode_topk: k = {} is outside 1…n = {}", k, e.w.rows));
  }
  if (e.screen->latents() != e.w.rows) throw UsageError("encode_topk: the screening copy is of another encoder");
}

}  // namespace

void encode_topk_cpu(Context& context, ConstMatrix x, const Encoder& encoder, int64_t k, SparseCodes& out,
                     NumericFlag& flag) {
  check(x, encoder, k);
  out.row_offsets.resize(x.rows + 1);
  for (int64_t i = 0; i <= x.rows; ++i) out.row_offsets[i] = i * k;
  out.indices.resize(x.rows * k);
  out.values.resize(x.rows * k);

  const Search search(context, x, encoder, k, out, flag);
  if (!search.finite()) {
    for (int64_t p = 0; p < x.rows * k; ++p) {
      out.indices[p] = static_cast<int32_t>(p % k);
      out.values[p] = 0;
    }
    if (x.rows > 0) flag.raise(0);
    return;
  }
  // Tiles of 192 rows keep x in L2 while the encoder streams past; smaller where threads would idle.
  const int threads = context.pool().threads();
  const int64_t rows = std::clamp<int64_t>((x.rows + threads - 1) / threads, 1, 192);
  std::vector<Tile> tiles(threads);
  for (Tile& tile : tiles) {
    tile.capacity = 2 * k + 256;
    tile.d = x.cols;
    tile.pairs = encoder.screen->pairs();
  }
  context.pool().run((x.rows + rows - 1) / rows, [&](int64_t task, int worker) {
    search.run_tile(tiles[worker], task * rows, std::min(rows, x.rows - task * rows));
  });
}

}  // namespace assay
