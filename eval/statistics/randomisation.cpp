#include "eval/statistics/randomisation.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <numeric>

#include "kernels/base/error.h"

namespace assay::eval {
namespace {

constexpr double kSteps = 1000;

size_t rounded(double value) {
  if (!(value >= 0 && value <= 1))
    throw Error(fmt::format("randomisation test: a value is {}, expected one of [0, 1]", value));
  return static_cast<size_t>(std::llround(value * kSteps));
}

/// The distribution of a sum after one more unit has drawn.
std::vector<double> after(const std::vector<double>& sums, const std::vector<size_t>& values) {
  const size_t most = *std::max_element(values.begin(), values.end());
  const double share = 1 / static_cast<double>(values.size());
  std::vector<double> result(sums.size() + most);
  for (const size_t value : values)
    for (size_t i = 0; i < sums.size(); ++i) result[i + value] += share * sums[i];
  return result;
}

}  // namespace

LotTest test_lots(std::span<const Lot> units) {
  if (units.empty()) throw Error("randomisation test: no units");
  LotTest result;
  std::vector<double> sums = {1};
  size_t got = 0;
  for (const Lot& unit : units) {
    if (unit.could.empty()) throw Error("randomisation test: a unit without outcomes");
    std::vector<size_t> values;
    for (const double value : unit.could) {
      values.push_back(rounded(value));
      result.expected += value / static_cast<double>(unit.could.size() * units.size());
    }
    got += rounded(unit.got);
    sums = after(sums, values);
  }
  if (got >= sums.size()) throw Error("randomisation test: a unit got what it could not get");
  const auto middle = sums.begin() + static_cast<std::ptrdiff_t>(got);
  const double below = std::accumulate(sums.begin(), middle + 1, 0.0),
               above = std::accumulate(middle, sums.end(), 0.0);
  result.p = std::min(1.0, 2 * std::min(below, above));
  return result;
}

}  // namespace assay::eval
