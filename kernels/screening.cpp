#include "kernels/screening.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "kernels/prefetch.h"

namespace assay {

namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

bool all_finite(const float* values, int64_t count) {
  return std::all_of(values, values + count, [](float v) { return std::isfinite(v); });
}

}  // namespace

Screening::Screening(Context& context, ConstMatrix x, const Encoder& encoder,
                     std::vector<float> shift)
    : p_(primitives(context.isa())), x_(x), encoder_(encoder), shift_(std::move(shift)) {
  const int64_t n = encoder.w.rows;
  scale_.assign(encoder.screen->blocks() * kScreenBlock, 1.0f);
  if (encoder.rank_scale != nullptr) std::copy_n(encoder.rank_scale, n, scale_.begin());
  constexpr float kRounded = 1 + 0x1p-21f;  // of the terms themselves
  terms_.reserve(n);
  groups_.resize(encoder.screen->blocks() / 2);
  for (int64_t j = 0; j < n; ++j) {
    const float norm = encoder.screen->norm()[j];
    groups_[j / kScreenGroup].include(
        {norm, encoder.screen->error()[j], magnitude(shift_[j]), scale_[j]});
    terms_.push_back(
        {kRounded * scale_[j] * norm, kRounded * scale_[j] * encoder.screen->error()[j],
         kRounded * (scale_[j] * flushed_products(x.cols) + shift_rounding(shift_[j]))});
    finite_ = finite_ && std::isfinite(encoder.bias[j]) && std::isfinite(scale_[j]) &&
              (std::isfinite(norm) ||
               all_finite(encoder.w.row(j), encoder.w.cols));  // a norm may overflow
  }
  for (const Widest& group : groups_) widest_.include(group);
  shift_.resize(scale_.size(), -kInfinity);
}

void Screening::start(Tile& tile, int64_t capacity, int64_t first, int64_t rows) const {
  const Screen& screen = p_.screen;
  const int64_t pairs = encoder_.screen->pairs(), panels = (rows + screen.rows - 1) / screen.rows;
  tile.capacity = capacity;
  tile.panels.assign(panels * screen.panel_size(pairs), 0);
  tile.pairs.resize(pairs);
  tile.scratch.resize(x_.cols);
  tile.scores.resize(screen.rows * kScreenGroup);
  tile.indices.resize(rows * capacity);
  tile.kept.resize(rows * capacity);
  tile.count.assign(rows, 0);
  tile.bar.assign(panels * screen.rows, kClosed);
  for (auto* column : {&tile.by_norm, &tile.by_error, &tile.threshold})
    column->assign(tile.bar.size(), 0);
  tile.usable.resize(rows);
  // γ: d + 16 roundings of each of two sums, doubled for safety.
  const float gamma = static_cast<float>(x_.cols + 16) * 0x1p-22f;
  for (int64_t r = 0; r < rows; ++r) {
    const RoundedRow rounded =
        round_row(p_, x_.row(first + r), x_.cols, tile.pairs.data(), tile.scratch.data());
    screen.pack(tile.pairs.data(), pairs, r % screen.rows,
                tile.panels.data() + r / screen.rows * screen.panel_size(pairs));
    const RowBound bound = row_bound(rounded, gamma);
    tile.by_norm[r] = bound.by_norm;
    tile.by_error[r] = bound.by_error;
    tile.usable[r] = screenable(widest_, rounded, bound, x_.cols);
  }
}

void Screening::aim(Tile& tile, const Widest& group) const {
  for (size_t r = 0; r < tile.bar.size(); ++r) {
    const float threshold =
        tile.bar[r] - widest_error(group, {tile.by_norm[r], tile.by_error[r]}, x_.cols);
    tile.threshold[r] = std::max(threshold, kLowest);  // of a closed row it stays NaN
  }
}

void Screening::widen(Tile& tile) {
  const auto rows = static_cast<int64_t>(tile.count.size());
  std::vector<int32_t> indices(2 * tile.indices.size());
  std::vector<float> kept(2 * tile.kept.size());
  for (int64_t r = 0; r < rows; ++r) {
    const int64_t from = r * tile.capacity, to = 2 * from;
    std::copy_n(tile.indices.begin() + from, tile.count[r], indices.begin() + to);
    std::copy_n(tile.kept.begin() + from, tile.count[r], kept.begin() + to);
  }
  tile.indices.swap(indices);
  tile.kept.swap(kept);
  tile.capacity *= 2;
}

void Screening::rescore(int64_t row, const int32_t* indices, int64_t count, float* pre) const {
  const float* x = x_.row(row);
  const int64_t d = x_.cols;
  // Where most latents in a stretch are listed, the processor's own prefetching has caught on.
  const bool scattered =
      count > 0 && std::abs(int64_t{indices[count - 1]} - indices[0]) > 16 * count;
  int64_t c = 0;
  for (; c + 4 <= count; c += 4) {
    const float* rows[4];
    for (int i = 0; i < 4; ++i) rows[i] = encoder_.w.row(indices[c + i]);
    for (int64_t next = c + 4; scattered && next < std::min(count, c + 8); ++next) {
      prefetch_row(encoder_.w.row(indices[next]), d);
    }
    p_.dot4(x, rows, d, pre + c);
    for (int i = 0; i < 4; ++i) pre[c + i] += encoder_.bias[indices[c + i]];
  }
  for (; c < count; ++c)
    pre[c] = p_.dot(x, encoder_.w.row(indices[c]), d) + encoder_.bias[indices[c]];
}

}  // namespace assay
