#include "data/statistics.h"

#include <algorithm>
#include <cmath>

namespace assay::data {

double Moments::scale() const {
  double square = variance;
  for (const double m : mean) square += m * m;
  return count > 0 && square > 0 ? 1 / std::sqrt(square) : 1.0;
}

void Moments::merge(const Moments& other) {
  if (other.count == 0) return;
  if (count == 0) {
    *this = other;
    return;
  }
  const auto n = static_cast<double>(count), m = static_cast<double>(other.count);
  double between = 0;
  for (size_t j = 0; j < mean.size(); ++j) {
    const double difference = other.mean[j] - mean[j];
    between += difference * difference;
    mean[j] += difference * (m / (n + m));
  }
  variance = (n * variance + m * other.variance + between * (n * m / (n + m))) / (n + m);
  count += other.count;
}

void MomentSums::add(const float* row) {
  for (size_t j = 0; j < sum_.size(); ++j) {
    const double x = row[j];
    sum_[j] += x;
    squares_[j] += x * x;
  }
  ++count_;
}

Moments MomentSums::moments() const {
  Moments result;
  result.count = count_;
  result.mean.assign(sum_.size(), 0.0);
  if (count_ == 0) return result;
  const auto n = static_cast<double>(count_);
  for (size_t j = 0; j < sum_.size(); ++j) {
    result.mean[j] = sum_[j] / n;
    result.variance += std::max(0.0, squares_[j] / n - result.mean[j] * result.mean[j]);
  }
  return result;
}

}  // namespace assay::data
