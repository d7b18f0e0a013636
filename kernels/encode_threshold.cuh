// The kernel of encode_threshold_cuda.cu and the order it runs in; see there for the algorithm.
#pragma once

#include <numeric>

#include "kernels/encode_threshold.h"
#include "kernels/encode_topk.cuh"

namespace assay {

/// Finds a tile's pairs, settles them exactly, and counts or writes them; a block a row.
struct SweepTileKernel {
  static constexpr const char* kName = "encode_threshold: sweep";
  static constexpr int kThreads = BlockSelect::kThreads;
  static constexpr int64_t kCapacity = 2048;  // candidates settled at a time
  DeviceSearch s;                             ///< encoder, x, bounds and counts (−1: settle every latent)
  ConstMatrix tile;                           ///< [rows, latents] scores without bias
  int64_t first_row, first_latent;
  const float* theta;  ///< [n]
  float band;
  int64_t* found;        ///< [B] pairs of the row so far
  const int64_t* begin;  ///< [B] where the row's pairs go; null: count only
  int32_t* indices;
  float *values, *pre;
  int32_t* broken;  ///< [B] not 0: the row is not finite

  struct Shared {
    BlockSelect::Shared select;
    uint32_t keys[kCapacity];
    int32_t places[kCapacity];
  };

  template <class Thread>
  ASSAY_DEVICE void operator()(Thread& t) const {
    auto& shared = *reinterpret_cast<Shared*>(t.shared());
    const BlockSelect::List list{shared.keys, shared.places, kCapacity};
    const int64_t row = first_row + t.block();
    const bool all = s.counts[row] < 0;
    const RowBound bound = s.bounds[row];
    const float* scores = tile.row(t.block());
    int64_t count = found[row], held = 0;
    uint32_t bar = 1;
    const auto load = [&](int64_t c) {
      const int64_t j = first_latent + c;
      const bool may =
          all || scores[c] + threshold_shift(s.encoder.bias[j], theta[j], band) + s.error_of(bound, j) >= 0;
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
  /// Scores the candidates exactly and writes those that count behind the `before` the row has; how many they are.
  template <class Thread>
  ASSAY_DEVICE int64_t decide(Thread& t, Shared& shared, const BlockSelect::List& list, int64_t row, int64_t count,
                              int64_t before) const {
    t.sync();  // the candidates stand
    for (int64_t base = 0; base < count; base += kThreads / 16) {
      const int64_t c = base + t.thread() / 16;
      const int64_t j = c < count ? list.places[c] : 0;
      const float dot = canonical_dot(t, s.x.row(row), s.encoder.w.row(j), c < count ? s.x.cols : 0);
      if (c >= count || t.thread() % 16 != 0) continue;
      const float exact = dot + s.encoder.bias[j];
      list.keys[c] = std::bit_cast<uint32_t>(exact);
      if (exact - exact == 0) continue;
      broken[row] = 1;
      Thread::atomic_min(s.flag.bad, s.flag.base + row);
    }
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

/// encode_threshold on host views through a machine's memory: the sweep once to count, once to write.
template <class M>
void encode_threshold_on(M& machine, ConstMatrix x, const Encoder& encoder, const float* theta, float band,
                         SparseCodes& out, std::vector<float>* pre, NumericFlag& flag) {
  const int64_t n = encoder.w.rows, d = encoder.w.cols, width = padded_depth(d);
  const int64_t tile_rows = std::min<int64_t>(x.rows, 4096);
  const int64_t tile_latents = latents_of_tile(machine.tile_bytes(), tile_rows, n);
  const DeviceMatrix w(machine, encoder.w), rows(machine, x);
  const Buffer<float> bias(machine, encoder.bias, n), thetas(machine, theta, n), norm(machine, n), error(machine, n),
      thresholds(machine, x.rows), tile(machine, tile_rows * tile_latents);
  const Buffer<bf16> copy(machine, n * width), rounded(machine, x.rows * width);
  const Buffer<RowBound> bounds(machine, x.rows);
  const Buffer<int32_t> counts(machine, x.rows), broken(machine, x.rows);
  const Buffer<int64_t> found(machine, x.rows);
  const Buffer<uint32_t> widest(machine, DeviceSearch::kWidest);
  const Buffer<long long> bad(machine, std::vector<long long>{NumericFlag::kNone});
  DeviceSearch s{};
  s.encoder = {w.view(), bias.data(), copy.data(), norm.data(), error.data()};
  s.x = rows.view(), s.capacity = SweepTileKernel::kCapacity, s.flag = {bad.data()};
  s.rounded = rounded.data(), s.bounds = bounds.data(), s.thresholds = thresholds.data(), s.counts = counts.data();
  s.widest = widest.data();
  const auto blocks = [](int64_t count, int64_t each) { return (count + each - 1) / each; };
  broken.clear();
  widest.clear();
  machine(RefreshCopyKernel{w.view(), copy.data(), norm.data(), error.data()}, blocks(n, RefreshCopyKernel::kRows), 0);
  machine(WidestKernel{s}, blocks(n, WidestKernel::kLatents), 0);
  machine(StartRowsKernel{s, rows.view(), nullptr, nullptr}, blocks(x.rows, StartRowsKernel::kRows), 0);
  out = {};
  out.row_offsets.assign(x.rows + 1, 0);
  if (pre != nullptr) pre->clear();
  if (widest.read().back() != 0) {  // the encoder is not finite
    if (x.rows > 0) flag.raise(0);
    return;
  }
  const auto sweep = [&](const int64_t* begin, int32_t* indices, float* values, float* pres) {
    found.clear();
    for (int64_t row = 0; row < x.rows; row += tile_rows) {
      const int64_t count = std::min(tile_rows, x.rows - row);
      for (int64_t j = 0; j < n; j += tile_latents) {
        const int64_t latents = std::min(tile_latents, n - j);
        machine.product(rounded.data() + row * width, count, copy.data() + j * width, latents, width, tile.data());
        machine(SweepTileKernel{s,
                                {tile.data(), count, latents},
                                row,
                                j,
                                thetas.data(),
                                band,
                                found.data(),
                                begin,
                                indices,
                                values,
                                pres,
                                broken.data()},
                count, sizeof(SweepTileKernel::Shared));
      }
    }
  };
  sweep(nullptr, nullptr, nullptr, nullptr);
  const auto pairs = found.read();
  const auto stopped = broken.read();
  for (int64_t i = 0; i < x.rows; ++i) out.row_offsets[i + 1] = out.row_offsets[i] + (stopped[i] != 0 ? 0 : pairs[i]);
  const Buffer<int64_t> begin(machine, out.row_offsets);
  const Buffer<int32_t> indices(machine, out.pairs());
  const Buffer<float> values(machine, out.pairs()), pres(machine, out.pairs());
  sweep(begin.data(), indices.data(), values.data(), pres.data());
  out.indices = indices.read();
  out.values = values.read();
  if (pre != nullptr) *pre = pres.read();
  if (const long long row = bad.read()[0]; row != NumericFlag::kNone) flag.raise(row);
}

}  // namespace assay
