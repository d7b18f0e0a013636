#include "data/rolling.h"

#include <fmt/format.h>

#include <chrono>
#include <cmath>
#include <nlohmann/json.hpp>
#include <thread>

#include "data/base/atomic_file.h"
#include "data/base/json_file.h"
#include "data/base/say.h"
#include "data/base/sha256.h"
#include "data/index_file.h"
#include "kernels/base/error.h"

namespace assay::data {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;
using Clock = std::chrono::steady_clock;

constexpr auto kPoll = std::chrono::milliseconds(50);
constexpr int64_t kMost = int64_t{1} << 48, kMostBytes = 64 << 20;

fs::path shard_name(int64_t number) { return fmt::format("shard-{:05}.h5", number); }

/// nullopt where there is no such file. The files are small and ours, but checked like any other.
std::optional<Json> read_json(const fs::path& file) {
  if (!fs::exists(file)) return std::nullopt;
  return read_json_object(file, kMostBytes);
}

int64_t read_count(const Json& json, const char* key, const fs::path& file) {
  const Json value = json.value(key, Json());
  if (!value.is_number_integer() || value < 0 || value > kMost) {
    throw Error(fmt::format("{}: '{}': expected an integer from 0", file.string(), key));
  }
  return value.get<int64_t>();
}

int64_t read_released(const fs::path& folder) {
  const auto json = read_json(folder / "released.json");
  return json ? read_count(*json, "shards", folder / "released.json") : 0;
}

Json hook_json(const HookInfo& hook) {
  return {{"name", hook.name},
          {"d", hook.d},
          {"dtype", std::string(name_of(hook.dtype))},
          {"variance", hook.variance},
          {"scale", hook.scale},
          {"mean", hook.mean}};
}

HookInfo read_hook(const Json& json) {
  HookInfo hook;
  json.at("name").get_to(hook.name);
  json.at("d").get_to(hook.d);
  hook.dtype = parse_dtype(json.at("dtype").get<std::string>());
  json.at("variance").get_to(hook.variance);
  json.at("scale").get_to(hook.scale);
  json.at("mean").get_to(hook.mean);
  return hook;
}

DatasetInfo read_header(const fs::path& folder) {
  const fs::path file = folder / "rolling.json";
  const Json json = read_json(file).value_or(Json::object());
  DatasetInfo info;
  try {
    if (json.at("format") != "assay-rolling" || json.at("version") != 1)
      throw Error(file.string() + ": another format");
    for (const Json& hook : json.at("hooks")) info.hooks.push_back(read_hook(hook));
    json.at("model").get_to(info.model);
    json.at("revision").get_to(info.revision);
    json.at("hook").get_to(info.hook);
  } catch (const Json::exception& error) {
    throw Error(fmt::format("{}: {}", file.string(), plain_text(error)));
  }
  for (const HookInfo& hook : info.hooks) {
    const bool sound = hook.d > 0 && hook.d <= (1 << 20) &&
                       static_cast<int64_t>(hook.mean.size()) == hook.d &&
                       std::isfinite(hook.scale) && hook.scale > 0 && std::isfinite(hook.variance);
    if (!sound)
      throw Error(fmt::format("{}: hook '{}' has no usable statistics", file.string(), hook.name));
  }
  if (info.hooks.empty()) throw Error(file.string() + ": names no hook");
  info.path = folder;
  info.content_hash = sha256(json.dump());
  return info;
}

/// Bytes of the shards in the folder, the one being written included.
int64_t bytes_of_shards(const fs::path& folder) {
  int64_t sum = 0;
  for (const auto& entry : fs::directory_iterator(folder)) {
    if (entry.path().filename().string().rfind("shard-", 0) != 0) continue;
    std::error_code gone;  // the trainer deletes meanwhile
    const uintmax_t size = fs::file_size(entry.path(), gone);
    if (!gone) sum += static_cast<int64_t>(size);
  }
  return sum;
}

}  // namespace

RollingProducer::RollingProducer(fs::path folder, int64_t limit_bytes, int64_t shard_bytes)
    : folder_(std::move(folder)),
      limit_(limit_bytes),
      shard_bytes_(shard_bytes),
      lease_(folder_, "producer") {
  if (limit_ < 3 * shard_bytes_) {
    throw UsageError(fmt::format(
        "a disk limit of {} bytes: a rolling cache holds at least three shards of {} bytes; "
        "raise the limit or write smaller shards",
        limit_, shard_bytes_));
  }
  if (fs::exists(folder_ / "finished.json")) {
    throw Error(fmt::format("{}: the harvest into this cache is finished; choose another folder",
                            folder_.string()));
  }
}

int64_t RollingProducer::released() const { return read_released(folder_); }

void RollingProducer::wait_for_room() const {
  const auto begun = Clock::now();
  for (bool said = false; bytes_of_shards(folder_) + shard_bytes_ > limit_;
       std::this_thread::sleep_for(kPoll)) {
    if (said || Clock::now() - begun < std::chrono::seconds(10)) continue;
    note(fmt::format("{}: full; waiting for the trainer to release shards", folder_.string()));
    said = true;
  }
}

void RollingProducer::write_header(const fs::path& first_shard) const {
  const DatasetInfo info = combine(folder_, read_layouts({first_shard})).info;
  Json hooks = Json::array();
  for (const HookInfo& hook : info.hooks) hooks.push_back(hook_json(hook));
  const Json header{{"format", "assay-rolling"},
                    {"version", 1},
                    {"model", info.model},
                    {"revision", info.revision},
                    {"hook", info.hook},
                    {"tokenizer_hash", info.tokenizer_hash},
                    {"source_hash", info.source_hash},
                    {"first_shard", info.content_hash},
                    {"hooks", hooks}};
  write_file_atomically(folder_ / "rolling.json", header.dump() + "\n");
}

void RollingProducer::finish(RollingEnd end) const {
  write_file_atomically(folder_ / "finished.json",
                        Json{{"shards", end.shards}, {"rows", end.rows}}.dump() + "\n");
}

RollingCache::RollingCache(const fs::path& folder, int64_t wait_seconds, SinkRows sinks)
    : folder_(folder), wait_seconds_(wait_seconds), sinks_(sinks), lease_(folder, "consumer") {
  const auto begun = Clock::now();
  while (!fs::exists(folder_ / "rolling.json")) {
    if (Clock::now() - begun > std::chrono::seconds(wait_seconds_)) {
      throw Error(fmt::format("{}: no rolling.json after {} s: is the harvester running?",
                              folder_.string(), wait_seconds_));
    }
    std::this_thread::sleep_for(kPoll);
  }
  info_ = read_header(folder_);
  release(released());  // deletes what an earlier trainer was killed before deleting
}

int64_t RollingCache::released() const { return read_released(folder_); }

void RollingCache::release(int64_t shards) {
  const int64_t before = released();
  if (shards > before)
    write_file_atomically(folder_ / "released.json", Json{{"shards", shards}}.dump() + "\n");
  for (const auto& entry : fs::directory_iterator(folder_)) {
    const std::string name = entry.path().filename().string();
    int64_t number = 0;
    if (name.rfind("shard-", 0) != 0 || entry.path().extension() != ".h5") continue;
    if (std::sscanf(name.c_str(), "shard-%ld.h5", &number) == 1 &&
        number < std::max(before, shards)) {
      fs::remove(entry.path());
    }
  }
}

fs::path RollingCache::shard_path(int64_t number) const { return folder_ / shard_name(number); }

bool RollingCache::has_shard(int64_t number) const { return fs::exists(shard_path(number)); }

std::optional<RollingEnd> RollingCache::end() const {
  const fs::path file = folder_ / "finished.json";
  const auto json = read_json(file);
  if (!json) return std::nullopt;
  return RollingEnd{read_count(*json, "shards", file), read_count(*json, "rows", file)};
}

RollingPasses::RollingPasses(std::shared_ptr<RollingCache> cache, StreamOptions options)
    : cache_(std::move(cache)), options_(std::move(options)), released_(cache_->released()) {
  if (options_.ranks > 1)
    throw UsageError("a rolling cache is read by one process; make a data set for several ranks");
  if (options_.skip_corrupt) {
    throw UsageError(
        "data.skip_corrupt reads all data before training, which a rolling cache does not hold");
  }
}

bool RollingPasses::ready(int64_t epoch) {
  {
    const std::lock_guard held(mutex_);
    if (epoch < released_) {
      throw Error(fmt::format("{}: is gone: shards below {} were released by a later checkpoint",
                              cache_->shard_path(epoch).string(), released_));
    }
    if (passes_.count(epoch) > 0) return true;
  }
  if (cache_->has_shard(epoch)) return true;
  const auto end = cache_->end();
  if (!end || cache_->has_shard(epoch)) return cache_->has_shard(epoch);
  throw Error(fmt::format(
      "{}: the harvest ended after {} shards with {} rows, and the stream has used them up; train "
      "fewer steps or harvest more",
      cache_->info().path.string(), end->shards, end->rows));
}

std::shared_ptr<const Pass> RollingPasses::pass(int64_t epoch) {
  const std::lock_guard held(mutex_);
  std::shared_ptr<const Pass>& found = passes_[epoch];
  if (!found) {
    auto dataset =
        std::make_shared<const Dataset>(Dataset::open(cache_->shard_path(epoch), cache_->sinks()));
    PlanVariant variant;
    variant.first_lane = epoch;
    variant.lanes_may_be_empty = true;
    found = make_pass(std::move(dataset), options_, std::move(variant));
  }
  return found;
}

void RollingPasses::release(int64_t epoch) {
  {
    const std::lock_guard held(mutex_);
    if (epoch <= released_) return;
    released_ = epoch;
    passes_.erase(passes_.begin(), passes_.lower_bound(epoch));
  }
  cache_->release(epoch);
}

}  // namespace assay::data
