// When a run's numbers speak against it.
#include "sae/warnings.h"

#include <gmock/gmock.h>

namespace assay::sae {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

RunFacts good() {
  RunFacts facts{.fvu = 0.2, .l0 = 10.5, .dead = 50, .latents = 100};
  facts.mean_ratio = 300;
  facts.target_l0 = 10;
  return facts;
}

TEST(Warnings, NoneWhereNothingSpeaksAgainstTheRun) { EXPECT_THAT(warnings_of(good()), IsEmpty()); }

TEST(Warnings, EachFaultHasItsLine) {
  RunFacts facts = good();
  facts.fvu = 1;
  EXPECT_THAT(warnings_of(facts),
              ElementsAre(HasSubstr("FVU is 1: worse than predicting the mean")));
  facts = good();
  facts.dead = 51;
  EXPECT_THAT(warnings_of(facts), ElementsAre(HasSubstr("51 of 100 latents are dead")));
  facts = good();
  facts.mean_ratio = 301;
  EXPECT_THAT(warnings_of(facts), ElementsAre(HasSubstr("mean is 301 times their spread")));
  for (const double l0 : {8.9, 11.1}) {
    facts = good();
    facts.l0 = l0;
    EXPECT_THAT(warnings_of(facts), ElementsAre(HasSubstr("over 10 % from the target 10")));
  }
}

TEST(Warnings, TheFirstTenthIsNotJudgedAndL0OnlyAtTheEnd) {
  RunFacts facts{.fvu = 3, .l0 = 400, .dead = 100, .latents = 100};
  facts.target_l0 = 10;
  facts.share = 0.09;
  EXPECT_THAT(warnings_of(facts), IsEmpty());
  facts.share = 0.99;
  EXPECT_EQ(warnings_of(facts).size(), 2);
  facts.share = 1;
  EXPECT_EQ(warnings_of(facts).size(), 3);
}

}  // namespace
}  // namespace assay::sae
