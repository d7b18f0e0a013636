// Means, directions and gates of a few rows, worked out by hand.
#include "eval/learners/steering.h"

#include <gtest/gtest.h>

#include <limits>
#include <vector>

#include "kernels/base/error.h"

namespace assay::eval {
namespace {

/// Three negatives and two positives, mixed.
const std::vector<float> kRows = {1, 10, 4, 0, 2, 20, 6, 2, 6, 0};
const std::vector<uint8_t> kLabels = {0, 1, 0, 1, 0};

ConstMatrix rows() { return {kRows.data(), 5, 2}; }

TEST(Steering, ClassMeansAreOverTheClassAlone) {
  EXPECT_EQ(class_mean(rows(), kLabels, 0), (std::vector<double>{3, 10}));
  EXPECT_EQ(class_mean(rows(), kLabels, 1), (std::vector<double>{5, 1}));
}

TEST(Steering, TheVectorCarriesThePositivesMeanToTheNegatives) {
  EXPECT_EQ(steering_vector(rows(), kLabels), (std::vector<double>{-2, 9}));
}

TEST(Steering, AGateOpensAboveItsShareOfTheNegatives) {
  // The score is the feature itself: negatives 0 … 9 behind positives that must not count.
  std::vector<float> x;
  std::vector<uint8_t> y;
  for (int i = 0; i < 10; ++i) {
    x.insert(x.end(), {static_cast<float>(i), 100});
    y.insert(y.end(), {0, 1});
  }
  LinearProbe probe;
  probe.features = 1;
  probe.weights = {2};
  probe.bias = -1;
  const Gate gate = make_gate(probe, {x.data(), 20, 1}, y, 0.3);
  EXPECT_EQ(gate.score(std::vector<float>{7}), 13);
  int open = 0;
  for (int i = 0; i < 10; ++i) open += gate.open(std::vector<float>{static_cast<float>(i)});
  EXPECT_EQ(open, 3);
  for (const double share : {0.0, 1.0, -0.1, std::numeric_limits<double>::quiet_NaN()})
    EXPECT_THROW(make_gate(probe, {x.data(), 20, 1}, y, share), Error) << share;
}

}  // namespace
}  // namespace assay::eval
