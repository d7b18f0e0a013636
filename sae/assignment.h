// The assignment problem: which row goes with which column, one to one, at least total cost.
#pragma once

#include <cstdint>
#include <vector>

#include "kernels/base/view.h"

namespace assay::sae {

/// For every row of cost [r, c] its column, or −1 where there are more rows than columns and the
/// row stays alone; min(r, c) pairs whose summed cost is least. Shortest augmenting paths with
/// potentials (Kuhn 1955; Jonker and Volgenant 1987) in double: O(min(r, c)² · max(r, c)).
/// Deterministic. Costs must be finite.
std::vector<int64_t> assign(ConstMatrix cost);

}  // namespace assay::sae
