// Student's t against closed forms and published quantiles.
#include "eval/statistics/student.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <numbers>

#include "kernels/base/error.h"

namespace assay::eval {
namespace {

TEST(StudentTest, OneAndTwoDegreesOfFreedomHaveClosedForms) {
  for (const double t : {1e-9, .01, .3, 1., 2.5, 40., 1e6}) {
    EXPECT_NEAR(student_two_sided(t, 1), 2 / std::numbers::pi * std::atan2(1, t), 1e-12) << t;
    // 1 − t/√(2 + t²) without cancelling.
    const double root = std::sqrt(2 + t * t), two = 2 / (root * (root + t));
    EXPECT_NEAR(student_two_sided(t, 2) / two, 1, 1e-10) << t;
    EXPECT_EQ(student_two_sided(-t, 2), student_two_sided(t, 2));
  }
}

TEST(StudentTest, ManyDegreesOfFreedomAreTheNormal) {
  for (const double z : {.1, 1., 1.96, 5.})
    EXPECT_NEAR(student_two_sided(z, 1e9) / std::erfc(z / std::sqrt(2.)), 1, 1e-5) << z;
}

TEST(StudentTest, SmallTailsKeepTheirDigits) {
  // For large t the tail is that of its leading term: 2·Γ((df+1)/2)/(√(df·π)·Γ(df/2)) ·
  // df^((df+1)/2)·t^(−df)/df.
  const double df = 7, t = 1e6;
  const double density =
      std::exp(std::lgamma((df + 1) / 2) - std::lgamma(df / 2)) / std::sqrt(df * std::numbers::pi);
  const double leading = 2 * density * std::pow(df, (df + 1) / 2) * std::pow(t, -df) / df;
  EXPECT_NEAR(student_two_sided(t, df) / leading, 1, 1e-8);
}

TEST(StudentTest, PublishedQuantiles) {
  EXPECT_NEAR(student_quantile(.975, 1), 12.7062, 1e-4);
  EXPECT_NEAR(student_quantile(.975, 4), 2.77645, 1e-5);
  EXPECT_NEAR(student_quantile(.975, 120), 1.97993, 1e-5);
  EXPECT_NEAR(student_quantile(.8, 14), .868055, 1e-5);
  EXPECT_NEAR(student_quantile(.025, 9), -2.26216, 1e-5);
  EXPECT_EQ(student_quantile(.5, 3), 0);
}

TEST(StudentTest, TheQuantileUndoesTheTail) {
  for (const double df : {.7, 1., 2.4, 13., 500.})
    for (const double p : {.001, .4, .9, .99999})
      EXPECT_NEAR(student_two_sided(student_quantile(p, df), df) / (2 * std::min(p, 1 - p)), 1,
                  1e-8)
          << df << " " << p;
}

TEST(StudentTest, EdgesAreNamed) {
  EXPECT_EQ(student_two_sided(0, 3), 1);
  EXPECT_EQ(student_two_sided(std::numeric_limits<double>::infinity(), 3), 0);
  EXPECT_THROW(student_two_sided(std::nan(""), 3), Error);
  EXPECT_THROW(student_two_sided(1, 0), Error);
  EXPECT_THROW(student_quantile(1, 3), Error);
}

TEST(StudentTest, ShiftsAreThoseOfTheNoncentralT) {
  // scipy 1.17: the d with nct.sf(t.ppf(1 - alpha / 2, df), df, d) == .8
  constexpr double kKnown[][3] = {{1, .05, 16.334008870},   {2, .05, 5.6534892664},
                                  {5.5, .05, 3.4320662057}, {11, .005, 4.4607712485},
                                  {19, .05, 2.9535882472},  {100, .001, 4.2473921866}};
  for (const auto& [df, alpha, shift] : kKnown)
    EXPECT_NEAR(student_shift(.8, df, alpha) / shift, 1, 1e-6) << df << ", " << alpha;
  EXPECT_NEAR(student_shift(.8, 1e5, .05), 1.959963985 + .841621234, 1e-4) << "the normal's";
}

}  // namespace
}  // namespace assay::eval
