#include "data/stream.h"

#include <fmt/core.h>

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <exception>
#include <mutex>
#include <thread>

#include "data/base/sha256.h"
#include "data/mixture.h"
#include "data/pass.h"
#include "data/rolling.h"
#include "data/stream_window.h"
#include "kernels/base/error.h"

namespace assay::data {
namespace {

/// A window on its way. Guarded by the stream's mutex until it is ready.
struct Slot {
  size_t source = 0;
  int lane = 0;
  LanePosition start;
  bool ready = false;
  std::exception_ptr failed;
  Window window;
};
using SlotPointer = std::shared_ptr<Slot>;

/// Where the rows of one lane of one source come from just now.
struct Tap {
  SlotPointer current;  ///< null until its first row is taken
  SlotPointer next;     ///< on its way
};

struct DeliveredRow {
  std::shared_ptr<const Pass> pass;
  int64_t row = 0;
};

constexpr auto kRetry =
    std::chrono::milliseconds(20);  // between looks for an epoch that is not there yet

}  // namespace

struct ActivationStream::State {
  StreamOptions options;
  std::vector<HookInfo> hooks;
  Mixture mixture;
  std::vector<std::unique_ptr<PassSource>> sources;
  std::shared_ptr<RollingCache> rolling;  ///< the only source, where it is there
  std::string where, data_hash;
  std::vector<int> lanes;  ///< this rank's
  StreamPosition position;
  /// [sources · S] rows left in the window at `position`; −1 where not yet known
  std::vector<int64_t> left;
  int64_t drawn = 0;      ///< rows each lane has delivered since the start of the stream
  std::vector<Tap> taps;  ///< [sources · own lanes]
  std::vector<DeliveredRow> delivered;

  std::mutex mutex;
  std::condition_variable wanted, arrived;
  bool stopping = false;
  std::deque<SlotPointer> jobs;
  std::vector<std::thread> readers;

  State(const Sources& from, StreamOptions with);
  ~State();
  void stop();
  void work();
  bool load(Slot& slot) const;
  SlotPointer request(size_t source, int lane, LanePosition start);
  void seek(const StreamPosition& to);
  void require_valid(const StreamPosition& to) const;
  int64_t rows_before(const StreamPosition& to, int lane) const;
  size_t place(size_t source, int lane) const {
    return source * static_cast<size_t>(options.lanes) + static_cast<size_t>(lane);
  }
  void wait_for(const Slot& slot);
  Slot& current(size_t source, size_t own);
  void fill_lane(size_t own, const std::vector<Matrix>& out);
  void copy_row(const Window& window, uint32_t stored, int64_t row,
                const std::vector<Matrix>& out) const;
  void advance(size_t source, int lane, int64_t rows);
  void advance_all(int64_t rows);
  int64_t least_epoch() const;
};

ActivationStream::State::State(const Sources& from, StreamOptions with)
    : options(std::move(with)),
      mixture(from, options.seed),
      rolling(from.rolling()),
      where(from.info().path.string()),
      data_hash(from.info().content_hash) {
  hooks.push_back(from.hook(options.hook));
  for (const std::string& name : options.more_hooks) hooks.push_back(from.hook(name));
  for (size_t s = 0; s < from.all().size(); ++s) {
    PlanVariant variant;
    variant.source = s;
    auto pass = make_pass(from.all()[s].dataset, options, variant);
    for (const std::string& line : pass->skipped) data_hash = sha256(data_hash + line);
    sources.push_back(std::make_unique<RepeatedPass>(std::move(pass)));
  }
  if (rolling) sources.push_back(std::make_unique<RollingPasses>(rolling, options));
  for (int lane = options.rank; lane < options.lanes; lane += options.ranks) lanes.push_back(lane);
  seek(StreamPosition(sources.size() * static_cast<size_t>(options.lanes)));
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
    bool there = true;
    std::exception_ptr failed;
    try {
      there = load(*slot);
    } catch (...) {
      failed = std::current_exception();
    }
    held.lock();
    if (!there) {  // other lanes may go on meanwhile
      jobs.push_back(slot);
      wanted.wait_for(held, kRetry, [this] { return stopping; });
      continue;
    }
    slot->failed = failed;
    slot->ready = true;
    arrived.notify_all();
  }
}

/// False where the epoch is not there yet. Epochs that hold nothing of the lane are passed over.
bool ActivationStream::State::load(Slot& slot) const {
  PassSource& source = *sources[slot.source];
  for (;; slot.start = {slot.start.epoch + 1, 0, 0}) {
    if (!source.ready(slot.start.epoch)) return false;
    std::shared_ptr<const Pass> pass = source.pass(slot.start.epoch);
    if (pass->plan.windows(slot.lane) == 0) continue;
    slot.window = read_window(std::move(pass), hooks, slot.lane, slot.start);
    return true;
  }
}

SlotPointer ActivationStream::State::request(size_t source, int lane, LanePosition start) {
  auto slot = std::make_shared<Slot>();
  slot->source = source;
  slot->lane = lane;
  slot->start = {start.epoch, start.window, 0};
  const std::lock_guard held(mutex);
  jobs.push_back(slot);
  wanted.notify_one();
  return slot;
}

void ActivationStream::State::require_valid(const StreamPosition& to) const {
  bool valid = to.size() == sources.size() * static_cast<size_t>(options.lanes);
  if (rolling && valid) return;  // its shards may not be there yet
  for (size_t s = 0; valid && s < sources.size(); ++s) {
    for (int lane = 0; lane < options.lanes; ++lane) {
      const LanePosition& p = to[place(s, lane)];
      valid = valid && p.epoch >= 0 && sources[s]->pass(p.epoch)->plan.holds(lane, p);
    }
  }
  for (int lane = 1; valid && lane < options.lanes; ++lane)
    valid = rows_before(to, lane) == rows_before(to, 0);
  if (valid) return;
  throw Error(fmt::format(
      "{}: the saved position does not belong to this stream: data sets, weights, lanes, window, "
      "split or seed changed",
      where));
}

/// Rows the lane has delivered up to a position, over all sources.
int64_t ActivationStream::State::rows_before(const StreamPosition& to, int lane) const {
  int64_t rows = 0;
  for (size_t s = 0; s < sources.size(); ++s) {
    const LanePosition& p = to[place(s, lane)];
    const auto pass = sources[s]->pass(p.epoch);
    rows += p.epoch * pass->plan.lane_rows(lane) + pass->plan.rows_before(lane, p);
  }
  return rows;
}

void ActivationStream::State::seek(const StreamPosition& to) {
  require_valid(to);
  position = to;
  drawn = rolling ? 0 : rows_before(to, 0);
  left.assign(position.size(), -1);
  {
    const std::lock_guard held(mutex);
    jobs.clear();
  }
  taps.clear();
  for (size_t s = 0; s < sources.size(); ++s) {
    for (const int lane : lanes)
      taps.push_back({nullptr, request(s, lane, position[place(s, lane)])});
  }
}

/// Only a rolling cache can keep the stream waiting long: its harvester may be slow, or dead.
void ActivationStream::State::wait_for(const Slot& slot) {
  const auto begun = std::chrono::steady_clock::now();
  std::unique_lock held(mutex);
  while (!arrived.wait_for(held, kRetry, [&] { return slot.ready; })) {
    if (!rolling) continue;
    if (options.interrupted && options.interrupted()) throw Interrupted();
    if (std::chrono::steady_clock::now() - begun < std::chrono::seconds(rolling->wait_seconds()))
      continue;
    throw Error(fmt::format(
        "{}: shard {} did not come in {} s: is the harvester running, and does its disk limit hold "
        "all shards from {} on?",
        where, slot.start.epoch, rolling->wait_seconds(), sources.front()->released()));
  }
  if (slot.failed) std::rethrow_exception(slot.failed);
}

/// The window that the lane's next row of this source lies in; waits for it, and asks for the one
/// after.
Slot& ActivationStream::State::current(size_t source, size_t own) {
  Tap& tap = taps[source * lanes.size() + own];
  if (!tap.current) {
    wait_for(*tap.next);
    tap.current = std::move(tap.next);
    const Slot& slot = *tap.current;
    tap.next = request(source, slot.lane, slot.window.pass->plan.following(slot.lane, slot.start));
  }
  return *tap.current;
}

void ActivationStream::State::copy_row(const Window& window, uint32_t stored, int64_t row,
                                       const std::vector<Matrix>& out) const {
  for (size_t h = 0; h < hooks.size(); ++h) {
    const HookInfo& hook = *window.hooks[h];
    to_float(hook.dtype,
             window.stored[h].data() + static_cast<int64_t>(stored) * hook.d * size_of(hook.dtype),
             out[h].row(row), hook.d);
  }
}

/// The lane's rows of this batch: rows own, own + L, own + 2L, ... of `out`, L lanes being ours.
void ActivationStream::State::fill_lane(size_t own, const std::vector<Matrix>& out) {
  const int lane = lanes[own];
  std::vector<int64_t> offset(sources.size());
  for (size_t s = 0; s < sources.size(); ++s) offset[s] = position[place(s, lane)].offset;
  int64_t number = drawn;
  for (auto row = static_cast<int64_t>(own); row < out[0].rows;
       row += static_cast<int64_t>(lanes.size())) {
    const size_t source = mixture.choose(number++ * options.lanes + lane);
    const Window& window = current(source, own).window;
    const uint32_t stored = window.order[static_cast<size_t>(offset[source])];
    copy_row(window, stored, row, out);
    delivered[static_cast<size_t>(row)] = {window.pass, window.rows[stored]};
    if (++offset[source] < static_cast<int64_t>(window.order.size())) continue;
    offset[source] = 0;
    taps[source * lanes.size() + own].current.reset();
  }
}

/// Moves a position on; a position at the start of an epoch needs nothing of that epoch.
void ActivationStream::State::advance(size_t source, int lane, int64_t rows) {
  LanePosition& p = position[place(source, lane)];
  int64_t& rest = left[place(source, lane)];
  while (rows > 0) {
    const auto pass = sources[source]->pass(p.epoch);
    if (pass->plan.windows(lane) == 0) {
      p = {p.epoch + 1, 0, 0};
      continue;
    }
    if (rest < 0) rest = pass->plan.window_rows(lane, p.epoch, p.window) - p.offset;
    const int64_t step = std::min(rows, rest);
    rows -= step;
    rest -= step;
    p.offset += step;
    if (rest > 0) continue;
    p = pass->plan.following(lane, p);
    rest = -1;
  }
}

void ActivationStream::State::advance_all(int64_t rows) {
  std::vector<int64_t> count(sources.size());
  for (int lane = 0; lane < options.lanes; ++lane) {
    std::fill(count.begin(), count.end(), 0);
    for (int64_t i = 0; i < rows; ++i) ++count[mixture.choose((drawn + i) * options.lanes + lane)];
    for (size_t s = 0; s < sources.size(); ++s) advance(s, lane, count[s]);
  }
  drawn += rows;
}

int64_t ActivationStream::State::least_epoch() const {
  int64_t least = position.front().epoch;
  for (const LanePosition& p : position) least = std::min(least, p.epoch);
  return least;
}

ActivationStream::ActivationStream(const Dataset& dataset, StreamOptions options)
    : ActivationStream(Sources(dataset), std::move(options)) {}
ActivationStream::ActivationStream(const Sources& sources, StreamOptions options)
    : state_(std::make_unique<State>(sources, std::move(options))) {}
ActivationStream::~ActivationStream() = default;

void ActivationStream::next(const std::vector<Matrix>& out) {
  State& s = *state_;
  const int64_t rows = s.options.batch / s.options.ranks;
  if (out.size() != s.hooks.size()) {
    throw Error(fmt::format("{} buffers for {} hooks", out.size(), s.hooks.size()));
  }
  for (size_t h = 0; h < out.size(); ++h) {
    if (out[h].rows == rows && out[h].cols == s.hooks[h].d) continue;
    throw Error(fmt::format("a batch of {} is [{}, {}], the buffer [{}, {}]", s.hooks[h].name, rows,
                            s.hooks[h].d, out[h].rows, out[h].cols));
  }
  s.delivered.assign(static_cast<size_t>(rows), {});
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
  const DeliveredRow& from = state_->delivered.at(static_cast<size_t>(i));
  return from.pass->dataset->row_place(from.row);
}

bool ActivationStream::can_release() const {
  return state_->rolling && state_->least_epoch() > state_->sources.front()->released();
}

void ActivationStream::release() {
  if (state_->rolling) state_->sources.front()->release(state_->least_epoch());
}

int64_t ActivationStream::rows_per_epoch() const {
  int64_t rows = 0;
  if (state_->rolling) return rows;
  for (const auto& source : state_->sources) rows += source->pass(0)->plan.rows_per_epoch();
  return rows;
}

int64_t ActivationStream::window_chunks() const {
  int64_t most = 0;
  if (state_->rolling) return most;
  for (const auto& source : state_->sources)
    most = std::max(most, source->pass(0)->plan.window_chunks());
  return most;
}

Mixing ActivationStream::mixing() const {
  Mixing sum;
  if (state_->rolling) return sum;
  for (const auto& source : state_->sources) {
    const Mixing one = source->pass(0)->plan.mixing();
    sum.window_chunks = std::max(sum.window_chunks, one.window_chunks);
    sum.documents += one.documents;
    if (state_->sources.size() == 1) sum.batch_documents = one.batch_documents;
  }
  return sum;
}

const std::string& ActivationStream::data_hash() const { return state_->data_hash; }

std::vector<std::string> ActivationStream::skipped() const {
  std::vector<std::string> lines;
  if (state_->rolling) return lines;
  for (const auto& source : state_->sources) {
    const auto pass = source->pass(0);
    lines.insert(lines.end(), pass->skipped.begin(), pass->skipped.end());
  }
  return lines;
}

}  // namespace assay::data
