#include "data/stream_plan.h"

#include <fmt/core.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "kernels/base/error.h"
#include "kernels/base/random.h"

namespace assay::data {
namespace {

// Separate the two uses of the seed.
constexpr uint64_t kChunkOrder = 1, kRowOrder = 2;

void check_options(const StreamOptions& options) {
  if (options.lanes < 1)
    throw UsageError(fmt::format("data.lanes = {}: at least 1", options.lanes));
  if (options.batch < 1 || options.batch % options.lanes != 0) {
    throw UsageError(
        fmt::format("a batch of {} rows is no multiple of data.lanes = {}; change one of them",
                    options.batch, options.lanes));
  }
  if (options.ranks < 1 || options.lanes % options.ranks != 0 || options.rank < 0 ||
      options.rank >= options.ranks) {
    throw UsageError(fmt::format("rank {} of {}: the number of ranks must divide data.lanes = {}",
                                 options.rank, options.ranks, options.lanes));
  }
  if (options.window_chunks < 1)
    throw UsageError(fmt::format("window_chunks = {}: at least 1", options.window_chunks));
  if (options.readers < 1 || options.readers > 256) {
    throw UsageError(fmt::format("readers = {}: from 1 to 256", options.readers));
  }
}

}  // namespace

StreamPlan::StreamPlan(const Dataset& dataset, const StreamOptions& options, PlanVariant variant)
    : dataset_(dataset), options_(options), variant_(std::move(variant)) {
  check_options(options);
  if (variant_.source > 0) options_.seed = mix64(options.seed ^ mix64(variant_.source));
  const std::string where = dataset.info().path.string();
  const auto lanes = static_cast<size_t>(options.lanes);
  lanes_.resize(lanes);
  size_t filled = 0;
  const auto first_lane = static_cast<size_t>(variant_.first_lane % options.lanes);
  for (size_t c = 0; c < dataset.chunks().size(); ++c) {
    const ChunkInfo& chunk = dataset.chunks()[c];
    int64_t count = 0;
    if (variant_.left_out.count(static_cast<int64_t>(c)) == 0) {
      for (int64_t row = chunk.first; row < chunk.first + chunk.rows; ++row) count += delivers(row);
    }
    counts_.push_back(count);
    rows_ += count;
    if (count > 0) lanes_[(first_lane + filled++) % lanes].push_back(static_cast<int64_t>(c));
  }
  if (options_.mix_documents > 0) widen_windows();
  if (variant_.lanes_may_be_empty) return;
  if (filled == 0)
    throw Error(fmt::format("{}: no rows in the {} split", where, name_of(options.split)));
  if (filled < lanes) {
    throw UsageError(fmt::format(
        "{}: {} chunks hold rows of the {} split, fewer than the {} lanes; set data.lanes to {} "
        "or fewer",
        where, filled, name_of(options.split), lanes, filled));
  }
}

bool StreamPlan::delivers(int64_t row) const {
  const auto at = static_cast<size_t>(row);
  if (dataset_.sink()[at] != 0) return false;
  if (!options_.include_special && dataset_.special()[at] != 0) return false;
  return split_of(dataset_.document()[at], options_.rule) == options_.split;
}

std::map<int64_t, int64_t> StreamPlan::documents_of(int64_t chunk) const {
  const ChunkInfo& info = dataset_.chunks()[static_cast<size_t>(chunk)];
  std::map<int64_t, int64_t> rows;
  for (int64_t row = info.first; row < info.first + info.rows; ++row) {
    if (delivers(row)) ++rows[dataset_.document()[static_cast<size_t>(row)]];
  }
  return rows;
}

/// The documents of a chunk are counted as runs of rows. Staggered, S lanes hold at least
/// (S + 1) / 2 windows, whenever one looks.
void StreamPlan::widen_windows() {
  int64_t chunks = 0, runs = 0, longest = 0;
  for (const std::vector<int64_t>& lane : lanes_) {
    chunks += std::ssize(lane);
    longest = std::max<int64_t>(longest, std::ssize(lane));
    for (const int64_t chunk : lane) runs += runs_of(chunk);
  }
  if (chunks == 0) return;
  const double wanted = static_cast<double>(options_.mix_documents) * static_cast<double>(chunks) /
                        static_cast<double>(runs);  // chunks
  if (static_cast<double>(options_.window_chunks * options_.lanes) >= wanted) return;
  const auto needed = static_cast<int64_t>(std::ceil(2 * wanted / (options_.lanes + 1)));
  staggered_ = needed < longest;
  options_.window_chunks = std::max(options_.window_chunks, std::min(needed, longest));
}

int64_t StreamPlan::runs_of(int64_t chunk) const {
  const ChunkInfo& info = dataset_.chunks()[static_cast<size_t>(chunk)];
  int64_t runs = 0, last = -1;
  for (int64_t row = info.first; row < info.first + info.rows; ++row) {
    const int64_t document = dataset_.document()[static_cast<size_t>(row)];
    if ((runs > 0 && document == last) || !delivers(row)) continue;
    last = document;
    ++runs;
  }
  return runs;
}

int64_t StreamPlan::first_chunk(int lane, int64_t window) const {
  const int64_t shorter = staggered_ ? lane * options_.window_chunks / options_.lanes : 0;
  return std::max<int64_t>(0, window * options_.window_chunks - shorter);
}

Mixing StreamPlan::mixing() const {
  Mixing found{options_.window_chunks};
  std::map<int64_t, double> missed;  // the chance that a batch holds no row of a document
  const double draws = static_cast<double>(options_.batch) / options_.lanes;
  for (int lane = 0; lane < options_.lanes; ++lane) {
    if (windows(lane) == 0) continue;
    std::map<int64_t, int64_t> rows;
    for (const int64_t chunk : window_chunks(lane, 0, 0)) {
      for (const auto& [document, count] : documents_of(chunk)) rows[document] += count;
    }
    const auto total = static_cast<double>(window_rows(lane, 0, 0));
    for (const auto& [document, count] : rows) {
      const double chance = std::pow(1 - static_cast<double>(count) / total, draws);
      const auto [place, first] = missed.try_emplace(document, chance);
      if (!first) place->second *= chance;
    }
  }
  found.documents = std::ssize(missed);
  for (const auto& [document, chance] : missed) found.batch_documents += 1 - chance;
  return found;
}

std::vector<int64_t> StreamPlan::chunk_order(int lane, int64_t epoch) const {
  std::vector<int64_t> order = lanes_[static_cast<size_t>(lane)];
  Random random{options_.seed, kChunkOrder, static_cast<uint64_t>(lane),
                static_cast<uint64_t>(epoch)};
  shuffle(std::span<int64_t>(order), random);
  return order;
}

std::vector<int64_t> StreamPlan::window_chunks(int lane, int64_t epoch, int64_t window) const {
  const std::vector<int64_t> order = chunk_order(lane, epoch);
  const auto count = static_cast<int64_t>(order.size());
  const int64_t first = first_chunk(lane, window),
                last = std::min(first_chunk(lane, window + 1), count);
  return {order.begin() + first, order.begin() + last};
}

int64_t StreamPlan::window_rows(int lane, int64_t epoch, int64_t window) const {
  int64_t rows = 0;
  for (const int64_t chunk : window_chunks(lane, epoch, window))
    rows += counts_[static_cast<size_t>(chunk)];
  return rows;
}

int64_t StreamPlan::windows(int lane) const {
  const auto chunks = static_cast<int64_t>(lanes_[static_cast<size_t>(lane)].size());
  const int64_t window = options_.window_chunks, shorter = window - first_chunk(lane, 1);
  return chunks == 0 ? 0 : (chunks + shorter + window - 1) / window;
}

std::vector<uint32_t> StreamPlan::window_order(int lane, int64_t epoch, int64_t window,
                                               int64_t rows) const {
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

int64_t StreamPlan::rows_before(int lane, LanePosition position) const {
  const std::vector<int64_t> order = chunk_order(lane, position.epoch);
  int64_t rows = position.offset;
  for (int64_t i = 0; i < first_chunk(lane, position.window); ++i) {
    rows += counts_[static_cast<size_t>(order.at(static_cast<size_t>(i)))];
  }
  return rows;
}

int64_t StreamPlan::lane_rows(int lane) const {
  int64_t rows = 0;
  for (const int64_t chunk : lanes_[static_cast<size_t>(lane)])
    rows += counts_[static_cast<size_t>(chunk)];
  return rows;
}

bool StreamPlan::holds(int lane, LanePosition position) const {
  return position.epoch >= 0 && position.window >= 0 && position.window < windows(lane) &&
         position.offset >= 0 &&
         position.offset < window_rows(lane, position.epoch, position.window);
}

}  // namespace assay::data
