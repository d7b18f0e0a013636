#include "data/stream_plan.h"

#include <fmt/core.h>

#include <algorithm>
#include <numeric>

#include "data/random.h"
#include "kernels/error.h"

namespace assay::data {
namespace {

// Separate the two uses of the seed.
constexpr uint64_t kChunkOrder = 1, kRowOrder = 2;

void check_options(const StreamOptions& options) {
  if (options.lanes < 1) throw UsageError(fmt::format("data.lanes = {}: at least 1", options.lanes));
  if (options.batch < 1 || options.batch % options.lanes != 0) {
    throw UsageError(fmt::format("a batch of {} rows is no multiple of data.lanes = {}; change one of them",
                                 options.batch, options.lanes));
  }
  if (options.ranks < 1 || options.lanes % options.ranks != 0 || options.rank < 0 || options.rank >= options.ranks) {
    throw UsageError(fmt::format("rank {} of {}: the number of ranks must divide data.lanes = {}", options.rank,
                                 options.ranks, options.lanes));
  }
  if (options.window_chunks < 1) throw UsageError(fmt::format("window_chunks = {}: at least 1", options.window_chunks));
  if (options.readers < 1 || options.readers > 256) {
    throw UsageError(fmt::format("readers = {}: from 1 to 256", options.readers));
  }
}

}  // namespace

StreamPlan::StreamPlan(const Dataset& dataset, const StreamOptions& options) : dataset_(dataset), options_(options) {
  check_options(options);
  const std::string where = dataset.info().path.string();
  const auto lanes = static_cast<size_t>(options.lanes);
  lanes_.resize(lanes);
  size_t filled = 0;
  for (size_t c = 0; c < dataset.chunks().size(); ++c) {
    const ChunkInfo& chunk = dataset.chunks()[c];
    int64_t count = 0;
    for (int64_t row = chunk.first; row < chunk.first + chunk.rows; ++row) count += delivers(row);
    counts_.push_back(count);
    rows_ += count;
    if (count > 0) lanes_[filled++ % lanes].push_back(static_cast<int64_t>(c));
  }
  if (filled == 0) throw Error(fmt::format("{}: no rows in the {} split", where, name_of(options.split)));
  if (filled < lanes) {
    throw UsageError(
        fmt::format("{}: {} chunks hold rows of the {} split, fewer than the {} lanes; set data.lanes to {} "
                    "or fewer",
                    where, filled, name_of(options.split), lanes, filled));
  }
}

bool StreamPlan::delivers(int64_t row) const {
  const auto at = static_cast<size_t>(row);
  if (!options_.include_special && dataset_.special()[at] != 0) return false;
  return split_of(dataset_.document()[at], options_.rule) == options_.split;
}

std::vector<int64_t> StreamPlan::window_chunks(int lane, int64_t epoch, int64_t window) const {
  std::vector<int64_t> order = lanes_[static_cast<size_t>(lane)];
  Random random{options_.seed, kChunkOrder, static_cast<uint64_t>(lane), static_cast<uint64_t>(epoch)};
  shuffle(std::span<int64_t>(order), random);
  const auto count = static_cast<int64_t>(order.size());
  const int64_t first = window * options_.window_chunks, last = std::min(first + options_.window_chunks, count);
  return {order.begin() + first, order.begin() + last};
}

int64_t StreamPlan::window_rows(int lane, int64_t epoch, int64_t window) const {
  int64_t rows = 0;
  for (const int64_t chunk : window_chunks(lane, epoch, window)) rows += counts_[static_cast<size_t>(chunk)];
  return rows;
}

int64_t StreamPlan::windows(int lane) const {
  const auto chunks = static_cast<int64_t>(lanes_[static_cast<size_t>(lane)].size());
  return (chunks - 1) / options_.window_chunks + 1;
}

std::vector<uint32_t> StreamPlan::window_order(int lane, int64_t epoch, int64_t window, int64_t rows) const {
  std::vector<uint32_t> order(static_cast<size_t>(rows));
  std::iota(order.begin(), order.end(), 0u);
  Random random{options_.seed, kRowOrder, static_cast<uint64_t>(lane), static_cast<uint64_t>(epoch),
                static_cast<uint64_t>(window)};
  shuffle(std::span<uint32_t>(order), random);
  return order;
}

LanePosition StreamPlan::following(int lane, LanePosition position) const {
  if (position.window + 1 < windows(lane)) return {position.epoch, position.window + 1, 0};
  return {position.epoch + 1, 0, 0};
}

LanePosition StreamPlan::advance(int lane, LanePosition position, int64_t rows) const {
  position.offset += rows;
  for (;;) {
    const int64_t held = window_rows(lane, position.epoch, position.window);
    if (position.offset < held) return position;
    const int64_t over = position.offset - held;
    position = following(lane, position);
    position.offset = over;
  }
}

void StreamPlan::require_valid(const StreamPosition& position) const {
  bool valid = position.size() == lanes_.size();
  for (size_t lane = 0; valid && lane < position.size(); ++lane) {
    const LanePosition& p = position[lane];
    const int number = static_cast<int>(lane);
    valid = p.epoch >= 0 && p.window >= 0 && p.window < windows(number) && p.offset >= 0 &&
            p.offset < window_rows(number, p.epoch, p.window);
  }
  if (valid) return;
  throw Error(
      fmt::format("{}: the saved position does not belong to this stream: data set, lanes, window, split or seed "
                  "changed",
                  dataset_.info().path.string()));
}

}  // namespace assay::data
