#include "eval/learners/steering.h"

#include <fmt/format.h>

#include "eval/learners/linear_solver.h"
#include "kernels/base/error.h"

namespace assay::eval {

double Gate::score(std::span<const float> x) const {
  double sum = probe.bias;
  for (size_t j = 0; j < x.size(); ++j) sum += probe.weights[j] * x[j];
  return sum;
}

Gate make_gate(LinearProbe probe, ConstMatrix x, Labels y, double false_positives) {
  if (!(false_positives > 0 && false_positives < 1))
    throw Error(fmt::format("gate: share of false positives {}, expected between 0 and 1",
                            false_positives));
  Gate gate;
  gate.probe = std::move(probe);
  const std::vector<double> scores = gate.probe.score(x);
  std::vector<double> negatives;
  for (size_t i = 0; i < scores.size(); ++i)
    if (y[i] == 0) negatives.push_back(scores[i]);
  gate.threshold = quantile(std::move(negatives), 1 - false_positives);
  return gate;
}

std::vector<double> class_mean(ConstMatrix x, Labels y, uint8_t label) {
  check_training(x, y, "class mean");
  std::vector<double> mean(static_cast<size_t>(x.cols), 0.0);
  double count = 0;
  for (int64_t i = 0; i < x.rows; ++i) {
    if (y[i] != label) continue;
    for (int64_t j = 0; j < x.cols; ++j) mean[j] += x.row(i)[j];
    count += 1;
  }
  for (double& m : mean) m /= count;
  return mean;
}

std::vector<double> steering_vector(ConstMatrix x, Labels y) {
  std::vector<double> shift = class_mean(x, y, 0);
  const std::vector<double> positive = class_mean(x, y, 1);
  for (size_t j = 0; j < shift.size(); ++j) shift[j] -= positive[j];
  return shift;
}

}  // namespace assay::eval
