// What repeated timings come to, on the host's clock or a device's.
#pragma once

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

namespace assay {

struct Timing {
  std::string name;
  double ms = 0, low = 0, high = 0;  ///< median, least and most of the repeats
  /// what it must read or write at least, where that is what bounds it
  double bytes = 0;
};

/// `ms`: one a repeat, at least one.
inline Timing summarise(std::string name, std::vector<double> ms, double bytes = 0) {
  std::sort(ms.begin(), ms.end());
  return {std::move(name), ms[ms.size() / 2], ms.front(), ms.back(), bytes};
}

}  // namespace assay
