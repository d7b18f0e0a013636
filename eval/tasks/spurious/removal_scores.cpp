#include "eval/tasks/spurious/removal_scores.h"

#include <Eigen/Core>
#include <algorithm>
#include <cmath>
#include <numeric>

namespace assay::eval::spurious {
namespace {

using Rows = Eigen::Matrix<double, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
using FloatRows = Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;

Rows matrix_of(const Features& x) {
  return Eigen::Map<const FloatRows>(x.values.data(), x.rows, x.cols).cast<double>();
}

Features features_of(const Rows& x) {
  const FloatRows values = x.cast<float>();
  return {x.rows(), x.cols(), {values.data(), values.data() + values.size()}};
}

}  // namespace

RemovalSpace neuron_space(const Features& train, const Features& test) {
  const Rows x = matrix_of(train);
  const Eigen::RowVectorXd mean = x.colwise().mean();
  RemovalSpace space{
      features_of(x.rowwise() - mean), features_of(matrix_of(test).rowwise() - mean), {}};
  space.decoder.assign(static_cast<size_t>(train.cols * train.cols), 0.0f);
  for (int64_t j = 0; j < train.cols; ++j) space.decoder[j * train.cols + j] = 1;
  return space;
}

RemovalSpace oracle_space(const Features& train, const Features& test,
                          const std::vector<Eraser>& attributes) {
  const auto codes = [&](const Features& x) {
    Rows result(x.rows, std::ssize(attributes));
    const Rows rows = matrix_of(x);
    for (int64_t a = 0; a < result.cols(); ++a) {
      const Eraser& eraser = attributes[static_cast<size_t>(a)];
      const Eigen::Map<const Eigen::RowVectorXd> centre(eraser.centre.data(), x.cols),
          right(eraser.right.data(), x.cols);
      result.col(a) = (rows.rowwise() - centre) * right.transpose();
    }
    return features_of(result);
  };
  RemovalSpace space{codes(train), codes(test), {}};
  for (const Eraser& eraser : attributes)
    space.decoder.insert(space.decoder.end(), eraser.left.begin(), eraser.left.end());
  return space;
}

std::vector<double> alignments(const RemovalSpace& space, const LinearProbe& probe) {
  const int64_t d = std::ssize(probe.weights), m = space.train.cols;
  std::vector<double> result(static_cast<size_t>(m));
  for (int64_t j = 0; j < m; ++j)
    result[j] = std::inner_product(probe.weights.begin(), probe.weights.end(),
                                   space.decoder.begin() + j * d, 0.0);
  return result;
}

std::vector<int64_t> choose_ablated(const RemovalSpace& space,
                                    const std::vector<double>& alignments,
                                    const std::vector<int64_t>& train_rows, Labels labels,
                                    int64_t n, bool signed_effect) {
  std::vector<double> effect(alignments.size());
  const double ones = static_cast<double>(std::count(labels.begin(), labels.end(), 1));
  const double zeros = static_cast<double>(labels.size()) - ones;
  for (size_t i = 0; i < train_rows.size(); ++i)
    for (size_t j = 0; j < effect.size(); ++j)
      effect[j] += space.train.values[train_rows[i] * space.train.cols + static_cast<int64_t>(j)] *
                   (labels[i] ? 1 / ones : -1 / zeros);
  for (size_t j = 0; j < effect.size(); ++j)
    effect[j] = signed_effect ? std::max(0.0, effect[j]) * alignments[j]
                              : std::abs(effect[j] * alignments[j]);
  std::vector<int64_t> order;
  for (size_t j = 0; j < effect.size(); ++j)
    if (effect[j] != 0) order.push_back(static_cast<int64_t>(j));
  const auto middle = order.begin() + std::min<int64_t>(n, std::ssize(order));
  std::partial_sort(order.begin(), middle, order.end(), [&](int64_t a, int64_t b) {
    return effect[a] != effect[b] ? effect[a] > effect[b] : a < b;
  });
  order.erase(middle, order.end());
  return order;
}

double ablated_accuracy(const RemovalSpace& space, const std::vector<double>& scores,
                        const std::vector<double>& alignments, const std::vector<int64_t>& ablated,
                        const std::vector<int64_t>& test_rows, Labels labels) {
  double right = 0;
  for (size_t i = 0; i < test_rows.size(); ++i) {
    const float* codes = space.test.values.data() + test_rows[i] * space.test.cols;
    double score = scores[test_rows[i]];
    for (const int64_t j : ablated) score -= codes[j] * alignments[j];
    right += (score > 0) == (labels[i] == 1);
  }
  return right / static_cast<double>(test_rows.size());
}

double scr_score(double before, double after, double clean) {
  return clean > before ? (after - before) / (clean - before) : 0;
}

}  // namespace assay::eval::spurious
