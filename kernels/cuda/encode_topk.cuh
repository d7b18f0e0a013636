// encode_topk on a device: the CPU's certificate (kernels/encode_topk.h), with lists that do not
// grow and thresholds by the row's widest error instead of a group's.
//   1. The largest norm, error, bias and scale of the encoder bound every latent's; rows are
//      rounded to bf16 with their norms and rounding errors, 16 lanes a row.
//   2. A tile of the product (cuBLASLt, bf16 with fp32 accumulation) is a third of the L2 cache.
//      Once it stands there, a block a row streams its part of it: what reaches the row's threshold
//      is appended, in order, to the row's candidates in shared memory. When they fill (2,048, or
//      2k + 1,280), radix selection finds the k-th best and the threshold rises to it less twice
//      the row's widest error. Between tiles candidates and threshold rest in memory.
//   3. A block a row keeps the candidates whose upper bound reaches the k-th best lower bound,
//      rescores them by the canonical fp32 dot from the master weights (16 lanes each), and selects
//      the k best, ties to the smaller index.
//   4. Rows whose candidates overflow (near-ties below what bf16 can tell apart), whose products
//      could, or that are not finite, are scored exactly over all n, 64 rows at a time. So are all
//      rows where k is above 4,096.
// The bound's γ is twice the CPU's: tensor cores truncate. The winners are the canonical ones
// either way. Certificate: kernels/encode_topk.h. Selection: topk.cuh.
//
// Workspace: the tile, 16 KB a row of candidates (more for k > 384), 64·n floats. Speed: not
// measured (no device yet).
#pragma once

#include <algorithm>

#include "kernels/cuda/screening.cuh"
#include "kernels/encode_topk.h"

namespace assay {

/// Adds what a tile of the product holds to its rows' candidates; a block a row.
struct SelectTileKernel {
  static constexpr const char* kName = "encode_topk: selection";
  static constexpr int kThreads = BlockSelect::kThreads;
  DeviceSearch s;
  ConstMatrix tile;  ///< [rows, latents] scores without bias
  int64_t first_row, first_latent;

  static size_t shared_bytes(int64_t capacity) {
    return sizeof(BlockSelect::Shared) + capacity * 8;
  }

  template <class Thread>
  ASSAY_DEVICE void operator()(Thread& t) const {
    auto& shared = *reinterpret_cast<BlockSelect::Shared*>(t.shared());
    auto* keys = reinterpret_cast<uint32_t*>(t.shared() + sizeof(BlockSelect::Shared));
    const BlockSelect::List list{keys, reinterpret_cast<int32_t*>(keys + s.capacity), s.capacity};
    const int64_t row = first_row + t.block(), winners = s.eligible.winners(s.k);
    int64_t held = s.counts[row];
    if (held < 0 || winners == 0) return;
    BlockSelect::Item* kept = s.kept + row * s.capacity;
    for (int64_t c = t.thread(); c < held; c += kThreads) list.put(c, kept[c]);
    float threshold = s.thresholds[row];
    uint32_t bar = BlockSelect::key_of(threshold);
    const float slack = 2 * widest_error(s.most(), s.bounds[row], s.x.cols);
    const auto raise = [&](int64_t& count, uint32_t& raised) {
      const auto best = BlockSelect::choose(t, shared, list, count, winners);
      const float proven = BlockSelect::value_of(best.key) - slack;
      threshold = proven > threshold ? proven : threshold;
      raised = BlockSelect::key_of(threshold);
      count = BlockSelect::gather(
          t, shared, list, count, {raised, count},
          [&](int64_t where, BlockSelect::Item item) { list.put(where, item); });
      if (count > s.capacity - BlockSelect::kStep) count = -1;
    };
    const float* scores = tile.row(t.block());
    const auto load = [&](int64_t c) {
      const int64_t j = first_latent + c;
      if (!s.eligible(j)) return BlockSelect::Item{0, 0};
      return BlockSelect::Item{
          BlockSelect::key_of(s.encoder.rank(j, scores[c] + s.encoder.bias[j])),
          static_cast<int32_t>(j)};
    };
    BlockSelect::stream(t, shared, list, tile.cols, load, held, bar, raise);
    if (held > 2 * s.k + 256) raise(held, bar);
    t.sync();
    for (int64_t c = t.thread(); c < held; c += kThreads) kept[c] = list(c);
    if (t.thread() == 0) {
      s.counts[row] = static_cast<int32_t>(held);
      s.thresholds[row] = threshold;
    }
  }
};

/// Certifies a row's candidates, rescores what is left and writes the winners; a block a row.
struct FinishRowsKernel {
  static constexpr const char* kName = "encode_topk: rescoring";
  static constexpr int kThreads = BlockSelect::kThreads;
  DeviceSearch s;

  static size_t shared_bytes(int64_t capacity) {
    return sizeof(BlockSelect::Shared) + capacity * 12;
  }

  template <class Thread>
  ASSAY_DEVICE void operator()(Thread& t) const {
    auto& shared = *reinterpret_cast<BlockSelect::Shared*>(t.shared());
    auto* keys = reinterpret_cast<uint32_t*>(t.shared() + sizeof(BlockSelect::Shared));
    const BlockSelect::List list{keys, reinterpret_cast<int32_t*>(keys + s.capacity), s.capacity};
    auto* lower = reinterpret_cast<uint32_t*>(list.places + s.capacity);
    const int64_t row = t.block(), winners = s.eligible.winners(s.k), held = s.counts[row];
    if (!s.encoder_finite()) return s.reject(t, row);
    if (winners == 0) return s.fill(t, row, 0);
    if (held < winners) {  // near-ties without end, or a row that is not finite
      if (t.thread() == 0) s.overflows<Thread>(row);
      return;
    }
    const int64_t finalists = certify(t, shared, list, lower, row, held, winners);
    auto* pre = reinterpret_cast<float*>(lower);
    if (t.sync_or(!rescore(t, list, pre, row, finalists))) return s.reject(t, row);
    const auto choice = BlockSelect::choose(t, shared, list, finalists, winners);
    const auto finalist = [&](int64_t c) {
      return BlockSelect::Item{list.keys[c], static_cast<int32_t>(c)};
    };
    BlockSelect::gather(t, shared, finalist, finalists, choice,
                        [&](int64_t where, BlockSelect::Item item) {
                          s.write(row, where, list.places[item.place], pre[item.place]);
                        });
    s.fill(t, row, winners);
  }

 private:
  /// Keeps, in the list, the candidates whose upper bound reaches the k-th best lower bound.
  template <class Thread>
  ASSAY_DEVICE int64_t certify(Thread& t, BlockSelect::Shared& shared,
                               const BlockSelect::List& list, uint32_t* lower, int64_t row,
                               int64_t held, int64_t winners) const {
    const BlockSelect::Item* kept = s.kept + row * s.capacity;
    const RowBound bound = s.bounds[row];
    for (int64_t c = t.thread(); c < held; c += kThreads) {
      const float score = BlockSelect::value_of(kept[c].key),
                  error = s.error_of(bound, kept[c].place);
      lower[c] = BlockSelect::key_of(score - error);
      list.put(c, {BlockSelect::key_of(score + error), kept[c].place});
    }
    const auto by_lower = [&](int64_t c) { return BlockSelect::Item{lower[c], 0}; };
    const uint32_t bar = BlockSelect::choose(t, shared, by_lower, held, winners).key;
    return BlockSelect::gather(
        t, shared, list, held, {bar, held},
        [&](int64_t where, BlockSelect::Item item) { list.put(where, item); });
  }

  /// The canonical fp32 scores, and keys by their ranks; false where this thread met one that is
  /// not finite.
  template <class Thread>
  ASSAY_DEVICE bool rescore(Thread& t, const BlockSelect::List& list, float* pre, int64_t row,
                            int64_t count) const {
    bool finite = true;
    t.sync();  // the finalists stand
    s.score(
        t, row, count, [&](int64_t c) { return list.places[c]; },
        [&](int64_t c, int64_t j, float exact) {
          pre[c] = exact;
          finite = finite && exact - exact == 0;
          list.keys[c] = BlockSelect::key_of(s.encoder.rank(j, exact));
        });
    return finite;
  }
};

/// The rows of the exact path: canonical scores of all latents into scratch, and radix selection
/// over them.
struct ExactRowsKernel {
  static constexpr const char* kName = "encode_topk: exact rows";
  static constexpr int kThreads = BlockSelect::kThreads;
  static constexpr int64_t kBlocks = 64;  // rows at a time
  DeviceSearch s;

  template <class Thread>
  ASSAY_DEVICE void operator()(Thread& t) const {
    auto& shared = *reinterpret_cast<BlockSelect::Shared*>(t.shared());
    const int64_t n = s.encoder.w.rows, winners = s.eligible.winners(s.k);
    float* scores = s.scratch + t.block() * n;
    for (int64_t o = t.block(); o < s.overflow[0]; o += kBlocks) {
      const int64_t row = s.overflow[1 + o];
      if (t.sync_or(!score_all(t, row, scores))) {
        s.reject(t, row);
        continue;
      }
      const auto item_at = [&](int64_t j) {
        if (!s.eligible(j)) return BlockSelect::Item{0, 0};
        return BlockSelect::Item{BlockSelect::key_of(s.encoder.rank(j, scores[j])),
                                 static_cast<int32_t>(j)};
      };
      const auto choice = BlockSelect::choose(t, shared, item_at, n, winners);
      BlockSelect::gather(t, shared, item_at, n, choice,
                          [&](int64_t where, BlockSelect::Item item) {
                            s.write(row, where, item.place, scores[item.place]);
                          });
      s.fill(t, row, winners);
      t.sync();  // the scores have been read
    }
  }

 private:
  template <class Thread>
  ASSAY_DEVICE bool score_all(Thread& t, int64_t row, float* scores) const {
    bool finite = true;
    s.score(
        t, row, s.encoder.w.rows, [](int64_t c) { return c; },
        [&](int64_t, int64_t j, float exact) {
          scores[j] = exact;
          finite = finite && (!s.eligible(j) || exact - exact == 0);
        });
    return finite;
  }
};

/// The buffers of encodings of up to `rows` rows, and the kernels in order. Nothing here is B×n: a
/// tile of the product that stays in cache, the rows' candidates, and ExactRowsKernel::kBlocks rows
/// of scores.
template <class M>
class EncodeTopkOn {
 public:
  EncodeTopkOn(M& machine, int64_t rows, int64_t n, int64_t d, int64_t k)
      : machine_(machine),
        k_(k),
        capacity_(k > kMostScreened ? 0
                                    : std::max<int64_t>(2048, 2 * k + 256 + BlockSelect::kStep)),
        screening_(machine, rows, d, capacity_ > 0 ? n : 0),
        overflow_(machine, 1 + rows),
        kept_(machine, rows * capacity_),
        scratch_(machine, std::min(ExactRowsKernel::kBlocks, rows) * n) {}

  /// The winners of from − centre (written to `x`), or of x itself where centre is null: indices
  /// ascending.
  void run(const DeviceEncoder& encoder, ConstMatrix from, const float* centre, Matrix x,
           const Eligible& eligible, bool rectify, int32_t* indices, float* values,
           const DeviceFlag& flag) {
    DeviceSearch s{encoder, x, k_, eligible, rectify, indices, values, flag};
    s.capacity = capacity_, s.kept = kept_.data(), s.overflow = overflow_.data(),
    s.scratch = scratch_.data();
    machine_.clear(overflow_.data(), sizeof(int32_t));
    screening_.start(s, from, centre);
    if (capacity_ > 0) {
      screening_.for_each_tile(s, [&](ConstMatrix tile, int64_t row, int64_t latent) {
        machine_(SelectTileKernel{s, tile, row, latent}, tile.rows,
                 SelectTileKernel::shared_bytes(capacity_));
      });
    }
    machine_(FinishRowsKernel{s}, x.rows, FinishRowsKernel::shared_bytes(capacity_));
    machine_(ExactRowsKernel{s}, std::min(ExactRowsKernel::kBlocks, x.rows),
             sizeof(BlockSelect::Shared));
  }

 private:
  static constexpr int64_t kMostScreened =
      4096;  // the largest k whose candidates fit in shared memory

  M& machine_;
  int64_t k_, capacity_;
  ScreeningOn<M> screening_;
  Buffer<int32_t> overflow_;
  Buffer<BlockSelect::Item> kept_;
  Buffer<float> scratch_;
};

/// encode_topk on host views through a machine's memory; `out` has its size.
template <class M>
void encode_topk_on(M& machine, ConstMatrix x, const Encoder& encoder, int64_t k, SparseCodes& out,
                    NumericFlag& flag) {
  const int64_t n = encoder.w.rows, d = encoder.w.cols;
  const DeviceMatrix w(machine, encoder.w), rows(machine, x);
  const bool ranked = encoder.rank_scale != nullptr;
  const Buffer<float> bias(machine, encoder.bias, n), values(machine, x.rows * k),
      scale(machine, encoder.rank_scale, ranked ? n : 0);
  const Buffer<int32_t> indices(machine, x.rows * k);
  const ScreenCopyOn copy(machine, n, d);
  copy.refresh(machine, w.view());
  long long bad_row = NumericFlag::kNone;
  const Buffer<long long> bad(machine, &bad_row, 1);
  EncodeTopkOn<M> encode(machine, x.rows, n, d, k);
  encode.run({w.view(), bias.data(), copy.view(), ranked ? scale.data() : nullptr}, rows.view(),
             nullptr, rows.view(), {}, false, indices.data(), values.data(), {bad.data()});
  indices.download(out.indices.data());
  values.download(out.values.data());
  bad.download(&bad_row);
  if (bad_row != NumericFlag::kNone) flag.raise(bad_row);
}

}  // namespace assay
