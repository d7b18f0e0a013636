// The rows that a lane of the stream shuffles together, held in memory.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "data/pass.h"

namespace assay::data {

struct Window {
  std::shared_ptr<const Pass> pass;
  std::vector<const HookInfo*> hooks;     ///< the pass's own: each source has its own dtype
  std::vector<std::vector<char>> stored;  ///< [hooks] rows as stored
  std::vector<int64_t> rows;              ///< their global numbers, in stored order
  std::vector<uint32_t> order;            ///< in which they leave
};

/// Reads the window at `start` (its offset does not matter); `hooks` names the arrays, each source
/// having its own dtype.
Window read_window(std::shared_ptr<const Pass> pass, const std::vector<HookInfo>& hooks, int lane,
                   LanePosition start);

}  // namespace assay::data
