// An exact test of values that were handed out by lot. Single-threaded, reentrant, without random
// numbers.
#pragma once

#include <span>
#include <vector>

namespace assay::eval {

/// One unit: what it got, and what each outcome of the lot would have given, all equally likely.
/// Values lie in [0, 1]; `got` is one of `could`.
struct Lot {
  double got = 0;
  std::vector<double> could;
};

struct LotTest {
  double expected = 0;  ///< mean of what the lots give on average
  /// two-sided, of "the lots are fair and independent": twice the smaller tail, at most 1
  double p = 1;
};

/// Whether the mean of what the units got is what fair lots give. The sum's distribution is counted
/// out (values rounded to thousandths, in the data and in the distribution alike), so p is valid
/// for any number of units, any ties and any skewness, and as small as it has to be. Throws Error
/// without units, and where a value is none of [0, 1].
LotTest test_lots(std::span<const Lot> units);

}  // namespace assay::eval
