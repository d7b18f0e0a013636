#include "data/stream.h"

#include <fmt/core.h>

#include <algorithm>
#include <condition_variable>
#include <cstring>
#include <deque>
#include <exception>
#include <mutex>
#include <thread>

#include "data/stream_plan.h"
#include "kernels/error.h"

namespace assay::data {
namespace {

/// The rows of one window, as stored, and the order in which they leave.
struct Window {
  std::vector<char> stored;
  std::vector<int64_t> rows;  ///< global numbers, in stored order
  std::vector<uint32_t> order;
};

/// A window on its way. Guarded by the stream's mutex until it is ready.
struct Slot {
  int lane = 0;
  LanePosition start;
  bool ready = false;
  std::exception_ptr failed;
  Window window;
};
using SlotPointer = std::shared_ptr<Slot>;

}  // namespace

struct ActivationStream::State {
  const Dataset& dataset;
  StreamOptions options;
  StreamPlan plan;
  const HookInfo& hook;
  std::vector<int> lanes;  ///< this rank's
  StreamPosition position;
  std::vector<int64_t> left;       ///< [S] rows left in the window at `position`
  std::vector<int64_t> delivered;  ///< global rows of the last batch

  std::mutex mutex;
  std::condition_variable wanted, arrived;
  bool stopping = false;
  std::deque<SlotPointer> jobs;
  std::vector<std::deque<SlotPointer>> slots;  ///< [own lanes]: the current window and the next
  std::vector<std::thread> readers;

  State(const Dataset& from, StreamOptions with);
  ~State();
  void stop();
  void work();
  void load(Slot& slot) const;
  void request(size_t own, LanePosition start);
  void seek(const StreamPosition& to);
  void fill_lane(size_t own, Matrix out);
  void copy_row(const Window& window, uint32_t stored, float* to) const;
  void advance_all(int64_t rows);
};

ActivationStream::State::State(const Dataset& from, StreamOptions with)
    : dataset(from), options(std::move(with)), plan(from, options), hook(from.hook(options.hook)) {
  if (options.scaled && hook.mean.empty()) {
    throw Error(fmt::format("{}: no mean and scale are known for {}; make them with `assay index FILES --out FOLDER`",
                            dataset.info().path.string(), hook.name));
  }
  for (int lane = options.rank; lane < options.lanes; lane += options.ranks) lanes.push_back(lane);
  seek(StreamPosition(static_cast<size_t>(options.lanes)));
  try {
    for (int i = 0; i < options.readers; ++i) readers.emplace_back([this] { work(); });
  } catch (...) {
    stop();
    throw;
  }
}

ActivationStream::State::~State() { stop(); }

void ActivationStream::State::stop() {
  {
    const std::lock_guard held(mutex);
    stopping = true;
    jobs.clear();
  }
  wanted.notify_all();
  for (std::thread& reader : readers) reader.join();
  readers.clear();
}

void ActivationStream::State::work() {
  std::unique_lock held(mutex);
  for (;;) {
    wanted.wait(held, [this] { return stopping || !jobs.empty(); });
    if (stopping) return;
    const SlotPointer slot = jobs.front();
    jobs.pop_front();
    held.unlock();
    std::exception_ptr failed;
    try {
      load(*slot);
    } catch (...) {
      failed = std::current_exception();
    }
    held.lock();
    slot->failed = failed;
    slot->ready = true;
    arrived.notify_all();
  }
}

void ActivationStream::State::load(Slot& slot) const {
  const auto row_bytes = static_cast<size_t>(hook.d * size_of(hook.dtype));
  const LanePosition& at = slot.start;
  const int64_t rows = plan.window_rows(slot.lane, at.epoch, at.window);
  Window& window = slot.window;
  window.rows.reserve(static_cast<size_t>(rows));
  window.stored.resize(static_cast<size_t>(rows) * row_bytes);
  char* to = window.stored.data();
  std::vector<char> whole;
  for (const int64_t number : plan.window_chunks(slot.lane, at.epoch, at.window)) {
    const ChunkInfo& chunk = dataset.chunks()[static_cast<size_t>(number)];
    whole.resize(static_cast<size_t>(chunk.rows) * row_bytes);
    dataset.read_chunk_raw(hook.name, number, whole.data());
    for (int64_t i = 0; i < chunk.rows; ++i) {
      if (!plan.delivers(chunk.first + i)) continue;
      std::memcpy(to, whole.data() + static_cast<size_t>(i) * row_bytes, row_bytes);
      to += row_bytes;
      window.rows.push_back(chunk.first + i);
    }
  }
  window.order = plan.window_order(slot.lane, at.epoch, at.window, rows);
}

void ActivationStream::State::request(size_t own, LanePosition start) {
  auto slot = std::make_shared<Slot>();
  slot->lane = lanes[own];
  slot->start = {start.epoch, start.window, 0};
  const std::lock_guard held(mutex);
  slots[own].push_back(slot);
  jobs.push_back(std::move(slot));
  wanted.notify_one();
}

void ActivationStream::State::seek(const StreamPosition& to) {
  plan.require_valid(to);
  position = to;
  {
    const std::lock_guard held(mutex);
    jobs.clear();
    slots.assign(lanes.size(), {});
  }
  left.clear();
  for (size_t lane = 0; lane < position.size(); ++lane) {
    const LanePosition& p = position[lane];
    left.push_back(plan.window_rows(static_cast<int>(lane), p.epoch, p.window) - p.offset);
  }
  for (size_t own = 0; own < lanes.size(); ++own) request(own, position[static_cast<size_t>(lanes[own])]);
  for (size_t own = 0; own < lanes.size(); ++own) {
    request(own, plan.following(lanes[own], position[static_cast<size_t>(lanes[own])]));
  }
}

void ActivationStream::State::copy_row(const Window& window, uint32_t stored, float* to) const {
  to_float(hook.dtype, window.stored.data() + static_cast<int64_t>(stored) * hook.d * size_of(hook.dtype), to, hook.d);
  if (!options.scaled) return;
  const auto scale = static_cast<float>(hook.scale);
  for (int64_t j = 0; j < hook.d; ++j) to[j] *= scale;
}

/// The lane's rows of this batch: rows own, own + L, own + 2L, ... of `out`, L lanes being ours.
void ActivationStream::State::fill_lane(size_t own, Matrix out) {
  int64_t offset = position[static_cast<size_t>(lanes[own])].offset;
  SlotPointer slot;
  for (auto row = static_cast<int64_t>(own); row < out.rows; row += static_cast<int64_t>(lanes.size())) {
    if (!slot) {
      std::unique_lock held(mutex);
      slot = slots[own].front();
      arrived.wait(held, [&] { return slot->ready; });
      if (slot->failed) std::rethrow_exception(slot->failed);
    }
    const Window& window = slot->window;
    const uint32_t stored = window.order[static_cast<size_t>(offset)];
    copy_row(window, stored, out.row(row));
    delivered[static_cast<size_t>(row)] = window.rows[stored];
    if (++offset < static_cast<int64_t>(window.order.size())) continue;
    offset = 0;
    slot.reset();
    LanePosition last;
    {
      const std::lock_guard held(mutex);
      slots[own].pop_front();
      last = slots[own].back()->start;
    }
    request(own, plan.following(lanes[own], last));
  }
}

void ActivationStream::State::advance_all(int64_t rows) {
  for (size_t lane = 0; lane < position.size(); ++lane) {
    left[lane] -= rows;
    if (left[lane] > 0) {
      position[lane].offset += rows;
      continue;
    }
    LanePosition& p = position[lane];
    const int number = static_cast<int>(lane);
    p = plan.advance(number, p, rows);
    left[lane] = plan.window_rows(number, p.epoch, p.window) - p.offset;
  }
}

ActivationStream::ActivationStream(const Dataset& dataset, StreamOptions options)
    : state_(std::make_unique<State>(dataset, std::move(options))) {}
ActivationStream::~ActivationStream() = default;

void ActivationStream::next(Matrix out) {
  State& s = *state_;
  const int64_t rows = s.options.batch / s.options.ranks;
  if (out.rows != rows || out.cols != s.hook.d) {
    throw Error(fmt::format("a batch is [{}, {}], the buffer [{}, {}]", rows, s.hook.d, out.rows, out.cols));
  }
  s.delivered.assign(static_cast<size_t>(rows), 0);
  try {
    for (size_t own = 0; own < s.lanes.size(); ++own) s.fill_lane(own, out);
  } catch (...) {
    s.seek(StreamPosition(s.position));  // the position stays before the batch that failed
    throw;
  }
  s.advance_all(s.options.batch / s.options.lanes);
}

StreamPosition ActivationStream::position() const { return state_->position; }

void ActivationStream::seek(const StreamPosition& position) { state_->seek(position); }

RowOrigin ActivationStream::origin(int64_t i) const {
  const int64_t row = state_->delivered.at(static_cast<size_t>(i));
  const std::vector<ChunkInfo>& chunks = state_->dataset.chunks();
  const auto after = std::upper_bound(chunks.begin(), chunks.end(), row,
                                      [](int64_t r, const ChunkInfo& chunk) { return r < chunk.first; });
  const auto [file, first] = state_->dataset.chunk_place(after - chunks.begin() - 1);
  return {file, first + row - (after - 1)->first};
}

int64_t ActivationStream::rows_per_epoch() const { return state_->plan.rows_per_epoch(); }

}  // namespace assay::data
