// The global, shuffled stream of activations that trains dictionaries.
//
// Chunk c belongs to lane c mod S. Each lane is an endless stream of its own: epoch after epoch it
// visits its chunks in an order drawn from (seed, lane, epoch), reads `window_chunks` of them at a
// time and permutes the rows they hold. Where that mixes fewer documents than `mix_documents`,
// windows are larger, and lane l's first window of an epoch is shorter by l/S of a window, so that
// lanes change windows one after another. Global row i comes from lane i mod S, so the global
// sequence depends on neither the number of ranks nor of readers.
//
// Of several sources each has lanes of its own, and global row i comes from the source that a Weyl
// sequence of i chooses (u_i = i·φ mod 1 against the cumulated weights): any run of rows has the
// weights' shares but for a few rows.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "data/dataset.h"
#include "data/sources.h"
#include "data/split.h"
#include "kernels/base/error.h"

namespace assay::data {

struct StreamOptions {
  std::string hook = "activations";
  std::vector<std::string> more_hooks;  ///< of the same rows, delivered beside `hook`
  int64_t batch = 2048;                 ///< global rows a batch; a multiple of lanes
  /// S; lowered to the number of chunks that hold rows, by an Error that says so
  int lanes = 16;
  int64_t window_chunks = 4;  ///< chunks a lane shuffles together
  /// Documents that all lanes' windows hold together, at least, at any time: where window_chunks
  /// hold fewer, windows grow until they hold so many, and lanes change theirs one after another.
  int64_t mix_documents = 0;
  uint64_t seed = 0;
  int readers = 1;  ///< reader threads; never changes the rows delivered
  bool include_special = false;
  Split split = Split::train;
  SplitRule rule;
  /// read everything once, name corrupt chunks and leave them out; else they are an Error
  bool skip_corrupt = false;
  /// Asked while the stream waits for a rolling cache: true makes next() throw Interrupted.
  std::function<bool()> interrupted;
  int rank = 0, ranks = 1;  ///< rank r delivers the rows of lanes ≡ r mod R; R divides S
};

/// Where a lane stands: the next row is permuted row `offset` of window `window` of epoch `epoch`.
struct LanePosition {
  int64_t epoch = 0, window = 0, offset = 0;
  bool operator==(const LanePosition&) const = default;
};
/// [sources · lanes], all lanes, whatever the rank
using StreamPosition = std::vector<LanePosition>;

/// How well a stream shuffles.
struct Mixing {
  int64_t window_chunks = 0;   ///< of a lane
  int64_t documents = 0;       ///< in the lanes' first windows together
  double batch_documents = 0;  ///< expected in a batch
};

/// next() gave up waiting because StreamOptions::interrupted said so; the position is that before
/// it.
class Interrupted : public Error {
 public:
  Interrupted() : Error("interrupted while waiting for activations") {}
};

/// Prefetches on its own threads; worker exceptions rethrow in next().
class ActivationStream {
 public:
  ActivationStream(const Dataset& dataset, StreamOptions options);
  ActivationStream(const Sources& sources, StreamOptions options);
  ~ActivationStream();
  /// Fill out [batch / ranks, d] with the next rows, as they are stored.
  void next(Matrix out) { next(std::vector<Matrix>{out}); }
  /// The same rows of every hook: out[0] of options.hook, then one of each of more_hooks.
  void next(const std::vector<Matrix>& out);
  /// The position after the last delivered batch; exact.
  StreamPosition position() const;
  void seek(const StreamPosition& position);
  /// Origin of row i of the batch that next() delivered last.
  RowOrigin origin(int64_t i) const;
  /// Of a rolling cache: whether shards wait to be released, all lanes having left them; and
  /// release them, which deletes them. Call it when the present position is safe in a checkpoint.
  bool can_release() const;
  void release();
  /// Rows of the chosen split (without sinks, and special ones unless included), over all sources;
  /// 0 for a rolling cache.
  int64_t rows_per_epoch() const;
  /// That a lane shuffles together, the most of all sources; 0 for a rolling cache.
  int64_t window_chunks() const;
  /// How the first windows mix; all 0 for a rolling cache. batch_documents is 0 for a mixture.
  Mixing mixing() const;
  /// Changes where other rows would come: the sources' content hash, and the chunks left out.
  const std::string& data_hash() const;
  /// One line a corrupt chunk that skip_corrupt left out.
  std::vector<std::string> skipped() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace assay::data
