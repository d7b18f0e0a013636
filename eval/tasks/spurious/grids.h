// Grids of strengths: which settings are refused, which points fit, and how a grid goes on.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "eval/tasks/spurious/settings.h"
#include "eval/tasks/task.h"

namespace assay::eval::spurious {

/// A grid as the settings name it.
struct GridEntry {
  const char* key;
  std::vector<int64_t> Grids::*list;
  const char* things;  ///< what a strength takes away; nullptr: nothing, it is a factor
  bool of_latents;     ///< else of dimensions
};
const std::vector<GridEntry>& grid_entries();

/// How often a grid may go on beyond its last point.
inline constexpr int kWidenings = 3;

/// Throws UsageError where a grid is empty or not ascending, or takes as much as there is, which
/// leaves nothing to read. The default grids fit whatever there is: points beyond are left out.
void check_grids(const Session& session);

/// The points that leave something of `d` dimensions, and of `n` latents where there is a
/// dictionary.
Grids fitting_grids(const Grids& grids, int64_t d, std::optional<int64_t> n);

/// The point after `last`: twice as far, or all but one of what there is. Nothing where there is
/// none left.
std::optional<int64_t> wider(const GridEntry& grid, int64_t last, int64_t there_are);

}  // namespace assay::eval::spurious
