// Which source of a mixture a row comes from: a function of its number alone.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

#include "data/sources.h"
#include "kernels/base/random.h"

namespace assay::data {

class Mixture {
 public:
  Mixture(const Sources& sources, uint64_t seed) : phase_(mix64(seed)) {
    double total = 0, sum = 0;
    for (const Source& source : sources.all()) total += source.weight;
    for (const Source& source : sources.all()) {
      sum += source.weight / total;
      ends_.push_back(sum < 1 ? static_cast<uint64_t>(std::ldexp(sum, 64)) : UINT64_MAX);
    }
    if (ends_.empty()) ends_.push_back(0);  // a rolling cache is read alone
    ends_.back() = UINT64_MAX;
  }
  /// Steps of the golden ratio fall evenly: among any consecutive rows each source's share is off
  /// by O(log rows) rows (Kuipers and Niederreiter 1974, chapter 2.3).
  size_t choose(int64_t row) const {
    const uint64_t at = phase_ + static_cast<uint64_t>(row) * 0x9e3779b97f4a7c15ull;
    const auto end = std::upper_bound(ends_.begin(), ends_.end() - 1, at);
    return static_cast<size_t>(end - ends_.begin());
  }

 private:
  uint64_t phase_;
  std::vector<uint64_t> ends_;
};

}  // namespace assay::data
