#include "eval/statistics/student.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numbers>
#include <vector>

#include "kernels/base/error.h"

namespace assay::eval {
namespace {

void check_df(double df) {
  if (!(df > 0)) throw Error(fmt::format("Student's t with {} degrees of freedom", df));
}

/// The continued fraction of the incomplete beta function (Abramowitz and Stegun 26.5.8) by Lentz's
/// method; converges fast for x < (a + 1)/(a + b + 2).
double beta_fraction(double a, double b, double x) {
  constexpr double kTiny = 1e-300;
  const auto away_from_zero = [](double v) { return std::abs(v) < kTiny ? kTiny : v; };
  double c = 1, d = 1 / away_from_zero(1 - (a + b) * x / (a + 1)), product = d;
  for (int m = 1; m < 10'000; ++m) {
    double last = product;
    for (const double term : {m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m)),
                              -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))}) {
      d = 1 / away_from_zero(1 + term * d);
      c = away_from_zero(1 + term / c);
      last = product;
      product *= c * d;
    }
    if (std::abs(product / last - 1) < 1e-15) break;
  }
  return product;
}

/// The regularised incomplete beta function I_x(a, b) for x in (0, 1), of x and 1 − x, so that
/// neither loses digits near 1.
double regularised_beta(double a, double b, double x, double rest) {
  const double front = std::exp(std::lgamma(a + b) - std::lgamma(a) - std::lgamma(b) +
                                a * std::log(x) + b * std::log(rest));
  if (x < (a + 1) / (a + b + 2)) return front * beta_fraction(a, b, x) / a;
  return 1 - front * beta_fraction(b, a, rest) / b;
}

}  // namespace

double student_two_sided(double t, double df) {
  check_df(df);
  if (std::isnan(t)) throw Error("Student's t of NaN");
  if (t == 0) return 1;
  const double square = t * t;
  if (std::isinf(square)) return 0;
  return regularised_beta(df / 2, .5, df / (df + square), square / (df + square));
}

double student_quantile(double p, double df) {
  check_df(df);
  if (!(p > 0 && p < 1)) throw Error(fmt::format("Student's t: quantile {}", p));
  if (p == .5) return 0;
  const double tail = 2 * std::min(p, 1 - p);
  double low = 0, high = 1;
  while (student_two_sided(high, df) > tail) high *= 2;
  for (int i = 0; i < 200 && high - low > 1e-12 * high; ++i) {
    const double middle = (low + high) / 2;
    (student_two_sided(middle, df) > tail ? low : high) = middle;
  }
  return p > .5 ? (low + high) / 2 : -(low + high) / 2;
}

double student_shift(double power, double df, double alpha) {
  check_df(df);
  const double critical = student_quantile(1 - alpha / 2, df);
  // T exceeds c where Z + shift > c·S; S is the estimated standard error over the true one, whose
  // density is proportional to s^(df − 1)·exp(−df·s²/2).
  constexpr int kPoints = 4000;
  std::vector<double> limits, weights;
  double total = 0;
  const double first = std::max(0.0, 1 - 9 / std::sqrt(df)), last = 1 + 9 / std::sqrt(df);
  for (int i = 0; i < kPoints; ++i) {
    const double s = first + (i + .5) * (last - first) / kPoints;
    limits.push_back(critical * s);
    weights.push_back(std::exp((df - 1) * std::log(s) + df * (1 - s * s) / 2));
    total += weights.back();
  }
  const auto found = [&](double shift) {
    double sum = 0;
    for (size_t i = 0; i < limits.size(); ++i)
      if (weights[i] > 0) sum += weights[i] * std::erfc((limits[i] - shift) / std::numbers::sqrt2);
    return sum / (2 * total);
  };
  double low = 0, high = 1;
  while (found(high) < power) high *= 2;
  while (high - low > 1e-9 * high) {
    const double middle = (low + high) / 2;
    (found(middle) < power ? low : high) = middle;
  }
  return (low + high) / 2;
}

}  // namespace assay::eval
