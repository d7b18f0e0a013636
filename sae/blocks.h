// Loops on the pool, in tasks whose number depends on the count alone.
#pragma once

#include <algorithm>
#include <cstdint>

#include "kernels/context.h"

namespace assay::sae {

/// body(i) for i in [0, count): rows of a batch, or columns of a matrix.
template <class Body>
void parallel_for(Context& context, int64_t count, const Body& body) {
  constexpr int64_t kEach = 64;
  context.pool().run((count + kEach - 1) / kEach, [&](int64_t task, int) {
    for (int64_t i = task * kEach; i < std::min(count, (task + 1) * kEach); ++i) body(i);
  });
}

}  // namespace assay::sae
