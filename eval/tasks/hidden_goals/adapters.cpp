#include "eval/tasks/hidden_goals/adapters.h"

#include <cmath>

#include "eval/learners/eigen_solvers.h"
#include "kernels/base/error.h"

namespace assay::eval::hidden_goals {
namespace {

using Eigen::MatrixXd;
using Eigen::VectorXd;

Eigen::Map<const FloatRows> map(ConstMatrix x) { return {x.data, x.rows, x.cols}; }

VectorXd random_normal(Rng& rng, int64_t d) {
  VectorXd v(d);
  for (double& value : v) value = rng.normal();
  return v;
}

/// Tokens of each class: how many, their mean and their scatter about it.
struct ClassTokens {
  double count = 0, norms = 0;
  VectorXd mean;
  MatrixXd scatter;
};

ClassTokens measure(const TokenRows& tokens, int32_t c) {
  const auto x = map(tokens.x.view());
  std::vector<int64_t> rows;
  for (int64_t i = 0; i < x.rows(); ++i)
    if (tokens.classes[i] == c) rows.push_back(i);
  MatrixXd own(std::ssize(rows), x.cols());
  for (int64_t i = 0; i < own.rows(); ++i) own.row(i) = x.row(rows[i]).cast<double>();
  ClassTokens result;
  result.count = static_cast<double>(rows.size());
  result.norms = own.rowwise().norm().sum();
  result.mean = own.colwise().mean();
  own.rowwise() -= result.mean.transpose();
  result.scatter = MatrixXd::Zero(x.cols(), x.cols());
  result.scatter.selfadjointView<Eigen::Lower>().rankUpdate(own.transpose());
  result.scatter = MatrixXd(result.scatter.selfadjointView<Eigen::Lower>());
  return result;
}

}  // namespace

FloatRows Adapter::units(ConstMatrix x) const {
  FloatRows h = map(x) * read.transpose();
  h.rowwise() += offset.transpose();
  if (triggered) h.col(0) = 1 / (1 + (-h.col(0).array()).exp());
  return h;
}

AdapterMaker::AdapterMaker(Context& context, const TokenRows& train, int64_t classes,
                           const GoalAdaptersConfig& config)
    : config_(config) {
  const int64_t d = train.x.cols;
  std::vector<ClassTokens> parts(static_cast<size_t>(classes));
  context.pool().run(classes,
                     [&](int64_t c, int) { parts[c] = measure(train, static_cast<int32_t>(c)); });
  const auto n = static_cast<double>(train.x.rows);
  MatrixXd within = MatrixXd::Zero(d, d);
  VectorXd sum = VectorXd::Zero(d);
  for (const ClassTokens& part : parts) {
    within += part.scatter / n;
    sum += part.mean * part.count;
    norm_ += part.norms / n;
  }
  moment_ = within;
  for (const ClassTokens& part : parts)
    moment_ += part.mean * part.mean.transpose() * (part.count / n);
  if (!(within.trace() > 0))
    throw Error(
        "hidden_goals_diff: the training texts' tokens do not vary within classes: there is "
        "nothing to audit");
  within.diagonal().array() += 1e-3 * within.trace() / static_cast<double>(d);
  const Eigen::LLT<MatrixXd> solver(within);
  triggers_.resize(classes, d);
  thresholds_.resize(classes);
  for (int64_t c = 0; c < classes; ++c) {
    const ClassTokens& own = parts[c];
    const VectorXd rest = (sum - own.mean * own.count) / (n - own.count);
    const VectorXd w = solver.solve(own.mean - rest);
    triggers_.row(c) = w;
    thresholds_[c] = -0.5 * w.dot(own.mean + rest);
  }
}

void AdapterMaker::set_trigger(const Organism& organism, Rng& rng, Adapter& adapter) const {
  adapter.read.row(0) = triggers_.row(organism.goal).cast<float>();
  adapter.offset[0] = static_cast<float>(thresholds_[organism.goal]);
  const VectorXd direction = random_normal(rng, moment_.rows()).normalized();
  adapter.write.row(0) =
      (direction * (static_cast<double>(organism.strength) / 100 * norm_)).cast<float>();
}

void AdapterMaker::set_drift(Rng& rng, Adapter& adapter) const {
  const int64_t rank = config_.drift_rank, d = moment_.rows();
  MatrixXd read(rank, d), write(rank, d);
  for (int64_t r = 0; r < rank; ++r) {
    read.row(r) = random_normal(rng, d);
    write.row(r) = random_normal(rng, d).normalized();
  }
  // E‖Σ h_r write_r‖² = Σ_rs E[h_r h_s] write_r·write_s
  const double energy =
      (read * moment_ * read.transpose()).cwiseProduct(write * write.transpose()).sum();
  write *= static_cast<double>(config_.drift) / 100 * norm_ / std::sqrt(energy);
  adapter.read.bottomRows(rank) = read.cast<float>();
  adapter.write.bottomRows(rank) = write.cast<float>();
  adapter.offset.tail(rank).setZero();
}

Adapter AdapterMaker::make(const Organism& organism, uint64_t seed) const {
  Rng rng(seed);
  Adapter adapter;
  adapter.triggered = organism.goal >= 0;
  const int64_t units = config_.drift_rank + (adapter.triggered ? 1 : 0);
  adapter.read.resize(units, moment_.rows());
  adapter.write.resize(units, moment_.rows());
  adapter.offset.resize(units);
  set_drift(rng, adapter);
  if (adapter.triggered) set_trigger(organism, rng, adapter);
  return adapter;
}

}  // namespace assay::eval::hidden_goals
