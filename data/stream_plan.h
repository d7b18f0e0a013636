// The order of the stream, without its data: which chunks a lane reads in which window, and where
// positions lead.
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <vector>

#include "data/dataset.h"
#include "data/stream.h"

namespace assay::data {

/// How one plan differs from those of the same options.
struct PlanVariant {
  uint64_t source = 0;     ///< of a mixture: each source has its own order
  int64_t first_lane = 0;  ///< the first chunk's
  bool lanes_may_be_empty = false;
  std::set<int64_t> left_out;  ///< chunks treated as if they held no row
};

/// Deterministic in (data set, options, variant); independent of ranks and readers. Chunks without
/// a row of the split are left out before they are numbered: the i-th chunk that holds rows belongs
/// to lane (first_lane + i) mod S.
class StreamPlan {
 public:
  StreamPlan(const Dataset& dataset, const StreamOptions& options, PlanVariant variant = {});

  int64_t rows_per_epoch() const { return rows_; }
  /// That a lane shuffles together, widened for mix_documents.
  int64_t window_chunks() const { return options_.window_chunks; }
  /// Of the lanes' first windows, for a batch of options.batch rows. Walks all their rows.
  Mixing mixing() const;
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
  /// Rows that leave the lane from the start of its epoch to `position`, and in an epoch.
  int64_t rows_before(int lane, LanePosition position) const;
  int64_t lane_rows(int lane) const;
  /// Whether such a window exists and holds more than position.offset rows.
  bool holds(int lane, LanePosition position) const;

 private:
  /// Rows of each document among the chunk's that are delivered.
  std::map<int64_t, int64_t> documents_of(int64_t chunk) const;
  void widen_windows();
  int64_t runs_of(int64_t chunk) const;
  /// Chunks of the lane before its window.
  int64_t first_chunk(int lane, int64_t window) const;
  std::vector<int64_t> chunk_order(int lane, int64_t epoch) const;

  const Dataset& dataset_;
  StreamOptions options_;
  PlanVariant variant_;
  int64_t rows_ = 0;
  bool staggered_ = false;
  std::vector<int64_t> counts_;              ///< [chunks] rows delivered
  std::vector<std::vector<int64_t>> lanes_;  ///< [S] chunks of each lane
};

}  // namespace assay::data
