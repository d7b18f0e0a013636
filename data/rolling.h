// The rolling cache: a folder that a harvester fills with shards while one trainer reads them in
// order and deletes those that its checkpoints have passed, so that the activations of a long run
// never lie on disk whole.
//
//   shard-NNNNN.h5    as in any data set; the number never comes back
//   rolling.json      written with the first shard: hooks and their statistics over that shard,
//                     which fix the scale
//   released.json     {"shards": n}: shards below n are no longer needed
//   finished.json     {"shards": n, "rows": r}: the harvester has written all
//
// Either side may be killed at any instant and started again; every file appears whole or not at
// all.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>

#include "data/base/lease.h"
#include "data/dataset.h"
#include "data/pass.h"

namespace assay::data {

struct RollingEnd {
  int64_t shards = 0, rows = 0;
};

/// The harvester's side; a second one is kept out.
class RollingProducer {
 public:
  /// Throws UsageError where `limit_bytes` does not hold three shards of `shard_bytes`, which
  /// reading needs: lanes may stand in two, and the next is read ahead.
  RollingProducer(std::filesystem::path folder, int64_t limit_bytes, int64_t shard_bytes);
  /// Shards released so far: an interrupted harvest goes on after these and the whole ones that
  /// follow.
  int64_t released() const;
  /// Returns when another shard fits under the limit; says on stderr that it waits.
  void wait_for_room() const;
  /// After shard 0 is whole.
  void write_header(const std::filesystem::path& first_shard) const;
  void finish(RollingEnd end) const;

 private:
  std::filesystem::path folder_;
  int64_t limit_, shard_bytes_;
  Lease lease_;
};

/// The trainer's side; a second one is kept out.
class RollingCache {
 public:
  /// Waits up to `wait_seconds` for rolling.json.
  RollingCache(const std::filesystem::path& folder, int64_t wait_seconds,
               SinkRows sinks = SinkRows::leave_out);
  /// rows 0; content_hash over rolling.json.
  const DatasetInfo& info() const { return info_; }
  int64_t wait_seconds() const { return wait_seconds_; }
  SinkRows sinks() const { return sinks_; }  ///< how its shards are opened

  int64_t released() const;
  /// Shards below `shards` will not be asked for again: recorded, then deleted.
  void release(int64_t shards);
  bool has_shard(int64_t number) const;
  std::filesystem::path shard_path(int64_t number) const;
  /// nullopt while the harvester goes on.
  std::optional<RollingEnd> end() const;

 private:
  std::filesystem::path folder_;
  int64_t wait_seconds_;
  SinkRows sinks_;
  Lease lease_;
  DatasetInfo info_;
};

/// Epoch e is shard e. The first chunk of each shard belongs to another lane than that of the one
/// before, so that short last chunks do not make one lane run ahead.
class RollingPasses : public PassSource {
 public:
  RollingPasses(std::shared_ptr<RollingCache> cache, StreamOptions options);
  /// Throws Error where the shard is gone, or the harvest ended before it.
  bool ready(int64_t epoch) override;
  std::shared_ptr<const Pass> pass(int64_t epoch) override;
  void release(int64_t epoch) override;
  int64_t released() const override { return released_; }

 private:
  std::shared_ptr<RollingCache> cache_;
  StreamOptions options_;
  std::mutex mutex_;  // guards passes_ and released_
  std::map<int64_t, std::shared_ptr<const Pass>> passes_;
  int64_t released_;
};

}  // namespace assay::data
