// The global, shuffled stream of activations that trains dictionaries.
//
// Chunk c belongs to lane c mod S. Each lane is an endless stream of its own: epoch after epoch it visits its chunks in
// an order drawn from (seed, lane, epoch), reads `window_chunks` of them at a time and permutes the rows they hold.
// Global row i comes from lane i mod S, so the global sequence depends on neither the number of ranks nor of readers.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "data/dataset.h"
#include "data/split.h"

namespace assay::data {

struct StreamOptions {
  std::string hook = "activations";
  int64_t batch = 2048;       ///< global rows a batch; a multiple of lanes
  int lanes = 16;             ///< S; lowered to the number of chunks that hold rows, by an Error that says so
  int64_t window_chunks = 4;  ///< chunks a lane shuffles together
  uint64_t seed = 0;
  int readers = 1;  ///< reader threads; never changes the rows delivered
  bool include_special = false;
  Split split = Split::train;
  SplitRule rule;
  bool scaled = true;       ///< multiply by the hook's stored scale
  int rank = 0, ranks = 1;  ///< rank r delivers the rows of lanes ≡ r mod R; R divides S
};

/// Where a lane stands: the next row is permuted row `offset` of window `window` of epoch `epoch`.
struct LanePosition {
  int64_t epoch = 0, window = 0, offset = 0;
  bool operator==(const LanePosition&) const = default;
};
using StreamPosition = std::vector<LanePosition>;  ///< [lanes], all lanes, whatever the rank

/// Where a delivered row came from, for error messages.
struct RowOrigin {
  std::string file;
  int64_t row = 0;  ///< within the file
};

/// Prefetches on its own threads; worker exceptions rethrow in next().
class ActivationStream {
 public:
  ActivationStream(const Dataset& dataset, StreamOptions options);
  ~ActivationStream();
  /// Fill out [batch / ranks, d] with the next rows.
  void next(Matrix out);
  /// The position after the last delivered batch; exact.
  StreamPosition position() const;
  void seek(const StreamPosition& position);
  /// Origin of row i of the batch that next() delivered last.
  RowOrigin origin(int64_t i) const;
  /// Rows of the chosen split (without special ones unless included).
  int64_t rows_per_epoch() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace assay::data
