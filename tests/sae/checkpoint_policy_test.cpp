#include "sae/checkpoint_policy.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace assay::sae {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::UnorderedElementsAre;

TEST(CheckpointPolicy, KeepsTheNewestAndTheMultiples) {
  const CheckpointPolicy policy{10, 0, 2, 40};
  EXPECT_THAT(superseded({10, 50, 40, 30, 20}, 50, policy), UnorderedElementsAre(10, 20, 30));
  EXPECT_THAT(superseded({60, 50, 40}, 60, policy), IsEmpty());
  EXPECT_THAT(superseded({70, 60, 50, 40}, 70, policy), ElementsAre(50));
  EXPECT_THAT(superseded({50}, 50, policy), IsEmpty());
}

TEST(CheckpointPolicy, ADamagedFutureNeitherCountsNorGoes) {
  const CheckpointPolicy policy{10, 0, 1, 0};
  EXPECT_THAT(superseded({100, 90, 30, 20}, 30, policy), ElementsAre(20));
}

TEST(CheckpointClock, IsDueByStepMultipleAndTime) {
  using std::chrono::seconds;
  const CheckpointClock::Clock::time_point start{};
  CheckpointClock clock({10, 0.5, 2, 25}, start);
  EXPECT_TRUE(clock.due(20, start));
  EXPECT_TRUE(clock.due(75, start));
  EXPECT_FALSE(clock.due(21, start + seconds(29)));
  EXPECT_TRUE(clock.due(21, start + seconds(30)));
  clock.written(start + seconds(30));
  EXPECT_FALSE(clock.due(22, start + seconds(59)));
  CheckpointClock never({10, 0, 2, 0}, start);
  EXPECT_FALSE(never.due(21, start + seconds(1'000'000)));
}

}  // namespace
}  // namespace assay::sae
