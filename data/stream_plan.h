// The order of the stream, without its data: which chunks a lane reads in which window, and where positions lead.
#pragma once

#include <cstdint>
#include <vector>

#include "data/dataset.h"
#include "data/stream.h"

namespace assay::data {

/// Deterministic in (data set, options); independent of ranks and readers. Chunks without a row of the split are left
/// out before they are numbered: the i-th chunk that holds rows belongs to lane i mod S.
class StreamPlan {
 public:
  StreamPlan(const Dataset& dataset, const StreamOptions& options);

  int64_t rows_per_epoch() const { return rows_; }
  /// Whether the stream delivers this row (global number).
  bool delivers(int64_t row) const;
  /// The chunks of a window, in reading order.
  std::vector<int64_t> window_chunks(int lane, int64_t epoch, int64_t window) const;
  /// Rows that a window delivers (at least one).
  int64_t window_rows(int lane, int64_t epoch, int64_t window) const;
  int64_t windows(int lane) const;
  /// The permutation of the window's rows.
  std::vector<uint32_t> window_order(int lane, int64_t epoch, int64_t window, int64_t rows) const;
  /// The window after.
  LanePosition following(int lane, LanePosition position) const;
  /// The position `rows` rows later.
  LanePosition advance(int lane, LanePosition position, int64_t rows) const;
  /// Throws Error where the position cannot be one of this stream.
  void require_valid(const StreamPosition& position) const;

 private:
  const Dataset& dataset_;
  StreamOptions options_;
  int64_t rows_ = 0;
  std::vector<int64_t> counts_;              ///< [chunks] rows delivered
  std::vector<std::vector<int64_t>> lanes_;  ///< [S] chunks of each lane
};

}  // namespace assay::data
