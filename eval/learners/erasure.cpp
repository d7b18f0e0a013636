#include "eval/learners/erasure.h"

#include <fmt/format.h>

#include <algorithm>

#include "eval/learners/eigen_solvers.h"
#include "eval/learners/linear_solver.h"
#include "eval/learners/probes.h"
#include "kernels/base/error.h"

namespace assay::eval {
namespace {

using FloatRows = Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;

void add_direction(Eraser& eraser, const Eigen::VectorXd& left, const Eigen::VectorXd& right) {
  eraser.left.insert(eraser.left.end(), left.begin(), left.end());
  eraser.right.insert(eraser.right.end(), right.begin(), right.end());
}

Eraser centred_at(const Eigen::VectorXd& mean) {
  Eraser eraser;
  eraser.centre.assign(mean.begin(), mean.end());
  return eraser;
}

/// Σ_i (y_i − ȳ) z_i / n.
Eigen::VectorXd cross_covariance(const RowMajor& z, Labels y) {
  Eigen::VectorXd labels(z.rows());
  for (int64_t i = 0; i < z.rows(); ++i) labels[i] = y[static_cast<std::size_t>(i)];
  labels.array() -= labels.mean();
  return z.transpose() * labels / static_cast<double>(z.rows());
}

}  // namespace

void Eraser::apply(ConstMatrix x, Matrix out) const {
  if (x.cols != features() || out.cols != x.cols || out.rows != x.rows) {
    throw Error(
        fmt::format("erasure: rows [{}, {}] into [{}, {}], expected {} features and the same shape",
                    x.rows, x.cols, out.rows, out.cols, features()));
  }
  const Eigen::Map<const RowMajor> l(left.data(), rank(), features()),
      r(right.data(), rank(), features());
  const Eigen::Map<const Eigen::VectorXd> middle(centre.data(), features());
  Eigen::VectorXd row(features());
  for (int64_t i = 0; i < x.rows; ++i) {
    for (int64_t j = 0; j < x.cols; ++j) row[j] = x.row(i)[j];
    const Eigen::VectorXd along = r * (row - middle);
    row -= l.transpose() * along;
    for (int64_t j = 0; j < x.cols; ++j) out.row(i)[j] = static_cast<float>(row[j]);
  }
}

Eraser fit_mean_projection(ConstMatrix x, Labels y) {
  const LinearProbe probe = fit_diff_means(x, y);
  Eraser eraser = centred_at(prepare(x, false).mean);
  const Eigen::Map<const Eigen::VectorXd> direction(probe.weights.data(), x.cols);
  add_direction(eraser, direction, direction);
  return eraser;
}

Eraser fit_leace(ConstMatrix x, Labels y) {
  check_training(x, y, "LEACE");
  const Prepared rows = prepare(x, false);
  Eigen::MatrixXd covariance = Eigen::MatrixXd::Zero(x.cols, x.cols);
  covariance.selfadjointView<Eigen::Lower>().rankUpdate(rows.z.transpose(),
                                                        1 / static_cast<double>(x.rows));
  const Eigen::SelfAdjointEigenSolver<Eigen::MatrixXd> eigen(covariance);
  if (eigen.info() != Eigen::Success)
    throw Error("LEACE: the covariance's eigenvalues did not converge");
  const double floor = 1e-10 * eigen.eigenvalues()[x.cols - 1];
  Eigen::VectorXd root = Eigen::VectorXd::Zero(x.cols), inverse_root = root;
  for (int64_t j = 0; j < x.cols; ++j) {
    if (!(eigen.eigenvalues()[j] > floor)) continue;
    root[j] = std::sqrt(eigen.eigenvalues()[j]);
    inverse_root[j] = 1 / root[j];
  }
  const Eigen::MatrixXd& axes = eigen.eigenvectors();
  Eigen::VectorXd whitened =
      inverse_root.cwiseProduct(axes.transpose() * cross_covariance(rows.z, y));
  const double length = whitened.norm();
  if (!(length > 0))
    throw Error("LEACE: features and labels are uncorrelated, expected a direction to erase");
  whitened /= length;
  Eraser eraser = centred_at(rows.mean);
  add_direction(eraser, axes * root.cwiseProduct(whitened),
                axes * inverse_root.cwiseProduct(whitened));
  return eraser;
}

Eraser fit_paired_projection(ConstMatrix differences, int64_t rank) {
  if (rank < 1) throw Error(fmt::format("paired projection: rank {}, expected 1 or more", rank));
  Eigen::MatrixXd gram = Eigen::MatrixXd::Zero(differences.cols, differences.cols);
  Eigen::VectorXd row(differences.cols);
  for (int64_t i = 0; i < differences.rows; ++i) {
    for (int64_t j = 0; j < differences.cols; ++j) row[j] = differences.row(i)[j];
    gram.selfadjointView<Eigen::Lower>().rankUpdate(row);
  }
  if (!gram.allFinite()) throw Error("paired projection: a difference is not finite");
  const Eigen::SelfAdjointEigenSolver<Eigen::MatrixXd> eigen(gram);
  if (eigen.info() != Eigen::Success)
    throw Error("paired projection: the eigenvalues did not converge");
  const auto value = [&](int64_t k) { return eigen.eigenvalues()[differences.cols - 1 - k]; };
  if (differences.cols < 1 || !(value(0) > 0)) throw Error("paired projection: no pair differs");
  Eraser eraser = centred_at(Eigen::VectorXd::Zero(differences.cols));
  for (int64_t k = 0; k < std::min(rank, differences.cols) && value(k) > 1e-10 * value(0); ++k) {
    const Eigen::VectorXd direction = eigen.eigenvectors().col(differences.cols - 1 - k);
    add_direction(eraser, direction, direction);
  }
  return eraser;
}

Eraser fit_inlp(ConstMatrix x, Labels y, int64_t rank, const LogisticOptions& options,
                uint64_t seed) {
  check_training(x, y, "INLP");
  if (rank < 1 || rank > x.cols)
    throw Error(fmt::format("INLP: rank {}, expected 1 to {} features", rank, x.cols));
  const Prepared rows = prepare(x, false);
  Eraser eraser = centred_at(rows.mean);
  RowMajor left = rows.z;
  for (int64_t round = 0; round < rank; ++round) {
    const FloatRows features = left.cast<float>();
    const LinearProbe probe = fit_logistic({features.data(), x.rows, x.cols}, y, options, seed);
    Eigen::VectorXd direction = Eigen::Map<const Eigen::VectorXd>(probe.weights.data(), x.cols);
    const double before = direction.norm();
    // Twice: one Gram-Schmidt pass leaves rounding along directions that are gone already.
    for (int pass = 0; pass < 2; ++pass) {
      const Eigen::Map<const RowMajor> gone(eraser.right.data(), eraser.rank(), x.cols);
      direction -= gone.transpose() * (gone * direction).eval();
    }
    const double length = direction.norm();
    if (!(length > 1e-6 * before)) break;
    direction /= length;
    add_direction(eraser, direction, direction);
    left -= (left * direction).eval() * direction.transpose();
    // What rounding leaves of a feature that is gone must not be standardised up into a feature.
    for (int64_t j = 0; j < x.cols; ++j) {
      if (left.col(j).squaredNorm() < 1e-20 * rows.z.col(j).squaredNorm()) left.col(j).setZero();
    }
  }
  return eraser;
}

}  // namespace assay::eval
