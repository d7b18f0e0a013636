#include "data/stream_window.h"

#include <cstring>

namespace assay::data {
namespace {

/// The window's rows of one array, one after another.
std::vector<char> read_rows(const Dataset& dataset, const HookInfo& hook,
                            const std::vector<int64_t>& chunks, const std::vector<int64_t>& rows) {
  const auto row_bytes = static_cast<size_t>(hook.d * size_of(hook.dtype));
  std::vector<char> stored(rows.size() * row_bytes), whole;
  size_t next = 0;
  for (const int64_t number : chunks) {
    const ChunkInfo& chunk = dataset.chunks()[static_cast<size_t>(number)];
    whole.resize(static_cast<size_t>(chunk.rows) * row_bytes);
    dataset.read_chunk_raw(hook.name, number, whole.data());
    for (; next < rows.size(); ++next) {
      const int64_t row = rows[next] - chunk.first;
      if (row < 0 || row >= chunk.rows) break;
      std::memcpy(stored.data() + next * row_bytes,
                  whole.data() + static_cast<size_t>(row) * row_bytes, row_bytes);
    }
  }
  return stored;
}

}  // namespace

Window read_window(std::shared_ptr<const Pass> pass, const std::vector<HookInfo>& hooks, int lane,
                   LanePosition start) {
  Window window;
  const Dataset& dataset = *pass->dataset;
  const std::vector<int64_t> chunks = pass->plan.window_chunks(lane, start.epoch, start.window);
  for (const int64_t number : chunks) {
    const ChunkInfo& chunk = dataset.chunks()[static_cast<size_t>(number)];
    for (int64_t i = 0; i < chunk.rows; ++i) {
      if (pass->plan.delivers(chunk.first + i)) window.rows.push_back(chunk.first + i);
    }
  }
  for (const HookInfo& hook : hooks) {
    window.hooks.push_back(&dataset.hook(hook.name));
    window.stored.push_back(read_rows(dataset, *window.hooks.back(), chunks, window.rows));
  }
  window.order = pass->plan.window_order(lane, start.epoch, start.window,
                                         static_cast<int64_t>(window.rows.size()));
  window.pass = std::move(pass);
  return window;
}

}  // namespace assay::data
