#include "data/split.h"

#include <gtest/gtest.h>

#include "data/split_rule.h"
#include "kernels/base/error.h"

namespace assay::data {
namespace {

TEST(Split, SharesAreMetAndSeedsDiffer) {
  SplitRule rule{0.1, 0.2, 7}, other{0.1, 0.2, 8};
  int validation = 0, test = 0, same = 0;
  for (int64_t document = 0; document < 100000; ++document) {
    const Split part = split_of(document, rule);
    validation += part == Split::validation;
    test += part == Split::test;
    same += part == split_of(document, other);
    ASSERT_EQ(part, split_of(document, rule));
  }
  EXPECT_NEAR(validation, 10000, 500);
  EXPECT_NEAR(test, 20000, 600);
  EXPECT_NEAR(same, 100000 * (0.01 + 0.04 + 0.49), 1000);  // independent draws agree by chance
}

TEST(Split, ExtremesAndNames) {
  EXPECT_EQ(split_of(5, {0, 0, 1}), Split::train);
  EXPECT_EQ(split_of(-5, {1, 0, 1}), Split::validation);
  EXPECT_EQ(split_of(INT64_MIN, {0, 1, 1}), Split::test);
  for (const Split s : {Split::train, Split::validation, Split::test})
    EXPECT_EQ(parse_split(name_of(s)), s);
  EXPECT_THROW(parse_split("dev"), UsageError);
}

/// A change of the rule would silently mix the parts of saved experiments.
TEST(Split, StaysAsItWas) {
  std::string parts;
  for (int64_t document = 0; document < 40; ++document)
    parts += name_of(split_of(document, {0.25, 0.25, 3}))[1];
  EXPECT_EQ(parts, "aeeerrarraarraareaerrreraareeeererareaee");
}

TEST(Split, RulesAreParsedStrictly) {
  const auto parsed = parse_split_rule(format_split_rule({0.25, 0.125, 9}));
  ASSERT_TRUE(parsed);
  EXPECT_EQ(parsed->validation, 0.25);
  EXPECT_EQ(parsed->test, 0.125);
  EXPECT_EQ(parsed->seed, 9u);
  for (const char* bad : {"", "validation=.1", "validation=0.1,test=0.1,seed=1,more",
                          "validation=0.9,test=0.9,seed=1"})
    EXPECT_FALSE(parse_split_rule(bad)) << bad;
}

}  // namespace
}  // namespace assay::data
