#include "eval/learners/probes.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "eval/learners/eigen_solvers.h"
#include "eval/learners/linear_solver.h"
#include "kernels/base/error.h"

namespace assay::eval {
namespace {

/// The rows with this label, in order, as doubles.
RowMajor rows_of(ConstMatrix x, Labels y, uint8_t label) {
  RowMajor result(std::count(y.begin(), y.end(), label), x.cols);
  int64_t at = 0;
  for (int64_t i = 0; i < x.rows; ++i) {
    if (y[static_cast<std::size_t>(i)] != label) continue;
    for (int64_t j = 0; j < x.cols; ++j) result(at, j) = x.row(i)[j];
    ++at;
  }
  return result;
}

LinearProbe linear_probe(const Eigen::VectorXd& w, double bias) {
  LinearProbe probe;
  probe.features = w.size();
  probe.weights.assign(w.begin(), w.end());
  probe.bias = bias;
  return probe;
}

/// Ledoit and Wolf's shrunk covariance of centred rows (1/n), in full.
Eigen::MatrixXd ledoit_wolf(const RowMajor& centred) {
  const double n = static_cast<double>(centred.rows()), p = static_cast<double>(centred.cols());
  Eigen::MatrixXd covariance = Eigen::MatrixXd::Zero(centred.cols(), centred.cols());
  covariance.selfadjointView<Eigen::Lower>().rankUpdate(centred.transpose(), 1 / n);
  covariance.triangularView<Eigen::StrictlyUpper>() = covariance.transpose();
  const double mu = covariance.trace() / p, squares = covariance.squaredNorm();
  const double fourth = centred.rowwise().squaredNorm().squaredNorm();
  const double delta = squares / p - mu * mu;
  const double beta = std::min((fourth / n - squares) / (p * n), delta);
  const double shrinkage = beta == 0 ? 0 : beta / delta;
  covariance *= 1 - shrinkage;
  covariance.diagonal().array() += shrinkage * mu;
  return covariance;
}

/// The class's covariance: Ledoit-Wolf on features standardised within the class, scaled back. A
/// feature that is constant within the class has a scale of 1, so that it keeps the shrinkage's
/// share of variance.
Eigen::MatrixXd class_covariance(const RowMajor& rows, const Eigen::VectorXd& mean) {
  RowMajor centred = rows.rowwise() - mean.transpose();
  Eigen::VectorXd scale =
      (centred.colwise().squaredNorm().transpose() / static_cast<double>(rows.rows())).cwiseSqrt();
  for (int64_t j = 0; j < scale.size(); ++j) {
    if (rows.col(j).maxCoeff() == rows.col(j).minCoeff()) {
      scale[j] = 1;
      centred.col(j).setZero();
    }
  }
  centred = centred * scale.cwiseInverse().asDiagonal();
  return scale.asDiagonal() * ledoit_wolf(centred) * scale.asDiagonal();
}

}  // namespace

std::unique_ptr<Scorer> fit_probe(ProbeKind kind, ConstMatrix x, Labels y,
                                  const ProbeOptions& options, uint64_t seed) {
  switch (kind) {
    case ProbeKind::logistic:
      return std::make_unique<LinearProbe>(fit_logistic(x, y, options.logistic, seed));
    case ProbeKind::diff_means:
      return std::make_unique<LinearProbe>(fit_diff_means(x, y));
    case ProbeKind::lda:
      return std::make_unique<LinearProbe>(fit_lda(x, y));
    case ProbeKind::pca_logistic:
      return std::make_unique<LinearProbe>(
          fit_pca_logistic(x, y, options.pca_components, options.logistic, seed));
    case ProbeKind::knn:
      return fit_knn(x, y, options.neighbours);
  }
  throw Error(fmt::format("probe kind {} is unknown", static_cast<int>(kind)));
}

LinearProbe fit_diff_means(ConstMatrix x, Labels y) {
  check_training(x, y, "difference of means");
  const Eigen::VectorXd positive = rows_of(x, y, 1).colwise().mean(),
                        negative = rows_of(x, y, 0).colwise().mean();
  Eigen::VectorXd w = positive - negative;
  const double length = w.norm();
  if (!(length > 0))
    throw Error("difference of means: both classes have the same mean, expected a direction");
  w /= length;
  return linear_probe(w, -.5 * w.dot(positive + negative));
}

LinearProbe fit_lda(ConstMatrix x, Labels y) {
  check_training(x, y, "LDA");
  Eigen::MatrixXd covariance = Eigen::MatrixXd::Zero(x.cols, x.cols);
  Eigen::VectorXd means[2];
  double priors[2] = {};
  for (uint8_t label : {uint8_t{0}, uint8_t{1}}) {
    const RowMajor rows = rows_of(x, y, label);
    if (rows.rows() < 2)
      throw Error(fmt::format("LDA: class {} has 1 row, expected at least 2", label));
    priors[label] = static_cast<double>(rows.rows()) / static_cast<double>(x.rows);
    means[label] = rows.colwise().mean();
    covariance += priors[label] * class_covariance(rows, means[label]);
  }
  const Eigen::LLT<Eigen::MatrixXd> factor(covariance);
  const Eigen::VectorXd w = factor.solve(means[1] - means[0]);
  if (factor.info() != Eigen::Success || !w.allFinite()) {
    throw Error("LDA: the shrunk covariance is singular; remove constant or repeated features");
  }
  return linear_probe(w, -.5 * w.dot(means[1] + means[0]) + std::log(priors[1] / priors[0]));
}

std::vector<double> feature_contrast(ConstMatrix x, Labels y) {
  check_training(x, y, "feature selection");
  const std::size_t f = static_cast<std::size_t>(x.cols);
  std::vector<double> sums[2] = {std::vector<double>(f), std::vector<double>(f)}, squares(f), sd(f);
  const double positives = static_cast<double>(std::count(y.begin(), y.end(), uint8_t{1}));
  const double n = static_cast<double>(x.rows), negatives = n - positives;
  for (int64_t i = 0; i < x.rows; ++i) {
    std::vector<double>& sum = sums[y[static_cast<std::size_t>(i)]];
    for (std::size_t j = 0; j < f; ++j) sum[j] += x.row(i)[j];
  }
  for (int64_t i = 0; i < x.rows; ++i) {
    for (std::size_t j = 0; j < f; ++j) {
      const double centred = x.row(i)[j] - (sums[0][j] + sums[1][j]) / n;
      squares[j] += centred * centred;
    }
  }
  for (std::size_t j = 0; j < f; ++j) sd[j] = std::sqrt(squares[j] / n);
  const double floor = .5 * quantile(sd, .5);
  std::vector<double> result(f);
  for (std::size_t j = 0; j < f; ++j) {
    const double difference = std::abs(sums[1][j] / positives - sums[0][j] / negatives);
    result[j] = sd[j] > 0 ? difference / (sd[j] + floor) : 0;
  }
  return result;
}

std::vector<int64_t> rank_features(ConstMatrix x, Labels y) {
  const std::vector<double> contrast = feature_contrast(x, y);
  std::vector<int64_t> order(contrast.size());
  std::iota(order.begin(), order.end(), int64_t{0});
  std::stable_sort(order.begin(), order.end(), [&](int64_t a, int64_t b) {
    return contrast[static_cast<std::size_t>(a)] > contrast[static_cast<std::size_t>(b)];
  });
  return order;
}

LinearProbe fit_columns(ConstMatrix x, Labels y, const std::vector<int64_t>& columns,
                        const LogisticOptions& options, uint64_t seed) {
  std::vector<float> gathered;
  gathered.reserve(columns.size() * static_cast<std::size_t>(x.rows));
  for (int64_t column : columns) {
    if (column < 0 || column >= x.cols) {
      throw Error(
          fmt::format("feature selection: column {}, expected 0 to {}", column, x.cols - 1));
    }
  }
  for (int64_t i = 0; i < x.rows; ++i) {
    for (int64_t column : columns) gathered.push_back(x.row(i)[column]);
  }
  LinearProbe probe =
      fit_logistic({gathered.data(), x.rows, std::ssize(columns)}, y, options, seed);
  probe.features = x.cols;
  probe.columns = columns;
  return probe;
}

}  // namespace assay::eval
