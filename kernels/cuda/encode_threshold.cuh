// encode_threshold on a device: the tiles and the error bound of encode_topk.cuh. A block a row
// streams its part of a tile; latents whose screened distance from the lower edge of the band, with
// its error, is not negative are listed in order in shared memory, and whenever the list (2,048)
// fills, and at the tile's end, they are scored by the canonical fp32 dot and decided. The sweep
// runs twice: once to count a row's pairs, once to write them where they go.
//
// Workspace: the tile, 16 KB of shared memory a block. Speed: not measured (no device yet).
#pragma once

#include <vector>

#include "kernels/cuda/encode_topk.cuh"
#include "kernels/encode_threshold.h"

namespace assay {

/// Finds a tile's pairs, settles them exactly, and counts or writes them; a block a row.
struct SweepTileKernel {
  static constexpr const char* kName = "encode_threshold: sweep";
  static constexpr int kThreads = BlockSelect::kThreads;
  static constexpr int kCapacity = 2048;  // candidates settled at a time
  /// encoder, x, bounds and counts (−1: settle every latent)
  DeviceSearch s;
  ConstMatrix tile;  ///< [rows, latents] scores without bias
  int64_t first_row, first_latent;
  const float* theta;  ///< [n]
  float band;
  int64_t* found;        ///< [B] pairs of the row so far
  const int64_t* begin;  ///< [B] where the row's pairs go; null: count only
  int32_t* indices;
  float *values, *pre;
  int32_t* broken;  ///< [B] not 0: the row is not finite

  using Shared = BlockSelect::SharedList<kCapacity>;

  template <class Thread>
  ASSAY_DEVICE void operator()(Thread& t) const {
    auto& shared = *reinterpret_cast<Shared*>(t.shared());
    const BlockSelect::List list = shared.list();
    const int64_t row = first_row + t.block();
    const bool all = s.counts[row] < 0;
    const RowBound bound = s.bounds[row];
    const float* scores = tile.row(t.block());
    int64_t count = found[row], held = 0;
    uint32_t bar = 1;
    const auto load = [&](int64_t c) {
      const int64_t j = first_latent + c;
      const bool may = all || scores[c] + threshold_shift(s.encoder.bias[j], theta[j], band) +
                                      s.error_of(bound, j) >=
                                  0;
      return BlockSelect::Item{may ? 1u : 0u, static_cast<int32_t>(j)};
    };
    const auto settle = [&](int64_t& candidates, uint32_t&) {
      count += decide(t, shared, list, row, candidates, count);
      candidates = 0;
    };
    BlockSelect::stream(t, shared.select, list, tile.cols, load, held, bar, settle);
    settle(held, bar);
    if (t.thread() == 0) found[row] = count;
  }

 private:
  /// Scores the candidates exactly and writes those that count behind the `before` the row has; how
  /// many they are.
  template <class Thread>
  ASSAY_DEVICE int64_t decide(Thread& t, Shared& shared, const BlockSelect::List& list, int64_t row,
                              int64_t count, int64_t before) const {
    t.sync();  // the candidates stand
    s.score(
        t, row, count, [&](int64_t c) { return list.places[c]; },
        [&](int64_t c, int64_t, float exact) {
          list.keys[c] = std::bit_cast<uint32_t>(exact);
          if (exact - exact == 0) return;
          broken[row] = 1;
          Thread::atomic_min(s.flag.bad, s.flag.base + row);
        });
    t.sync();
    int64_t written = 0;
    for (int64_t base = 0; base < count; base += kThreads) {
      const int64_t c = base + t.thread();
      const float exact = c < count ? std::bit_cast<float>(list.keys[c]) : 0;
      const float edge = c < count ? theta[list.places[c]] : 0;
      const bool active = c < count && exact > edge;
      const bool counts = active || (c < count && fabsf(exact - edge) < band / 2);
      int taken = 0;
      const int where = BlockSelect::rank(t, shared.select, counts, taken);
      if (counts && begin != nullptr && broken[row] == 0) {
        const int64_t at = begin[row] + before + written + where;
        indices[at] = list.places[c];
        values[at] = active ? exact : 0.0f;
        pre[at] = exact;
      }
      written += taken;
    }
    t.sync();  // the candidates have been read
    return written;
  }
};

/// The order of the sweeps: once to count a row's pairs, once to write them where they go.
template <class M>
class EncodeThresholdOn {
 public:
  EncodeThresholdOn(M& machine, ConstMatrix x, const Encoder& encoder, const float* theta,
                    float band)
      : machine_(machine),
        x_(machine, x),
        w_(machine, encoder.w),
        bias_(machine, encoder.bias, encoder.w.rows),
        theta_(machine, theta, encoder.w.rows),
        band_(band),
        copy_(machine, encoder.w.rows, encoder.w.cols),
        screening_(machine, x.rows, x.cols, encoder.w.rows),
        broken_(machine, x.rows),
        found_(machine, x.rows),
        bad_(machine, std::vector<long long>{NumericFlag::kNone}) {
    search_.encoder = {w_.view(), bias_.data(), copy_.view()};
    search_.x = x_.view(), search_.capacity = SweepTileKernel::kCapacity,
    search_.flag = {bad_.data()};
  }

  void run(SparseCodes& out, std::vector<float>* pre, NumericFlag& flag) {
    const int64_t rows = x_.view().rows;
    out = {};
    out.row_offsets.assign(rows + 1, 0);
    if (pre != nullptr) pre->clear();
    broken_.clear();
    copy_.refresh(machine_, w_.view());
    screening_.start(search_, x_.view(), nullptr);
    if (!screening_.encoder_finite()) {
      if (rows > 0) flag.raise(0);
      return;
    }
    sweep(nullptr, nullptr, nullptr, nullptr);
    const auto pairs = found_.read();
    const auto stopped = broken_.read();
    for (int64_t i = 0; i < rows; ++i)
      out.row_offsets[i + 1] = out.row_offsets[i] + (stopped[i] != 0 ? 0 : pairs[i]);
    write(out, pre);
    if (const long long row = bad_.read()[0]; row != NumericFlag::kNone) flag.raise(row);
  }

 private:
  void sweep(const int64_t* begin, int32_t* indices, float* values, float* pre) {
    found_.clear();
    screening_.for_each_tile(search_, [&](ConstMatrix tile, int64_t row, int64_t latent) {
      machine_(SweepTileKernel{search_, tile, row, latent, theta_.data(), band_, found_.data(),
                               begin, indices, values, pre, broken_.data()},
               tile.rows, sizeof(SweepTileKernel::Shared));
    });
  }

  /// Fills what the offsets have room for.
  void write(SparseCodes& out, std::vector<float>* pre) {
    const Buffer<int64_t> begin(machine_, out.row_offsets);
    const Buffer<int32_t> indices(machine_, out.pairs());
    const Buffer<float> values(machine_, out.pairs()), pres(machine_, out.pairs());
    sweep(begin.data(), indices.data(), values.data(), pres.data());
    out.indices = indices.read();
    out.values = values.read();
    if (pre != nullptr) *pre = pres.read();
  }

  M& machine_;
  DeviceMatrix x_, w_;
  Buffer<float> bias_, theta_;
  float band_;
  ScreenCopyOn copy_;
  ScreeningOn<M> screening_;
  Buffer<int32_t> broken_;
  Buffer<int64_t> found_;
  Buffer<long long> bad_;
  DeviceSearch search_{};
};

/// encode_threshold on host views through a machine's memory.
template <class M>
void encode_threshold_on(M& machine, ConstMatrix x, const Encoder& encoder, const float* theta,
                         float band, SparseCodes& out, std::vector<float>* pre, NumericFlag& flag) {
  EncodeThresholdOn<M>(machine, x, encoder, theta, band).run(out, pre, flag);
}

}  // namespace assay
