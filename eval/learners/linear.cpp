#include "eval/learners/linear.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <unordered_map>
#include <unordered_set>

#include "eval/learners/linear_solver.h"
#include "kernels/base/error.h"
#include "kernels/base/random.h"

namespace assay::eval {
namespace {

/// The penalty's curvature (l2) or slope (l1) is 1 whatever C is, so with a large C the loss's
/// scale must not loosen it.
double final_gradient(Penalty penalty, double loss_scale) {
  return (penalty == Penalty::l2 ? 1e-8 : 1e-6) * std::min(1.0, loss_scale);
}

Eigen::VectorXd sample_weights(Labels y, bool balanced) {
  Eigen::VectorXd s = Eigen::VectorXd::Ones(std::ssize(y));
  if (!balanced) return s;
  const double n = static_cast<double>(y.size());
  const double positives = static_cast<double>(std::count(y.begin(), y.end(), uint8_t{1}));
  for (int64_t i = 0; i < s.size(); ++i)
    s[i] = n / (2 * (y[static_cast<std::size_t>(i)] ? positives : n - positives));
  return s;
}

/// At most the documents of the class that has fewer of them.
int usable_folds(Labels y, const LogisticOptions& options) {
  if (std::ssize(options.documents) != std::ssize(y)) {
    throw Error(fmt::format(
        "logistic regression: {} documents for {} rows; folds are made by document, give one a row",
        options.documents.size(), y.size()));
  }
  std::unordered_set<int64_t> documents[2];
  for (std::size_t i = 0; i < y.size(); ++i) documents[y[i]].insert(options.documents[i]);
  return static_cast<int>(std::min<std::size_t>(
      {static_cast<std::size_t>(options.folds), documents[0].size(), documents[1].size()}));
}

double held_out_auroc(const Eigen::VectorXd& margins, Labels y, const std::vector<int>& fold_of,
                      int fold) {
  std::vector<double> scores;
  std::vector<uint8_t> labels;
  for (std::size_t i = 0; i < y.size(); ++i) {
    if (fold_of[i] != fold) continue;
    scores.push_back(margins[static_cast<int64_t>(i)]);
    labels.push_back(y[i]);
  }
  return auroc(scores, labels);
}

/// Mean AUROC over the folds for each C, empty if there is no fold to measure it on. C ascends,
/// each fold starting from its solution at the C before.
std::vector<double> cross_validate(LogisticSolver& solver, Labels y, const Eigen::VectorXd& s,
                                   const std::vector<double>& grid, const LogisticOptions& options,
                                   uint64_t seed) {
  const int folds = usable_folds(y, options);
  const std::vector<int> fold_of = stratified_folds(y, options.documents, folds, seed);
  const std::vector<int> usable = two_sided_folds(y, fold_of, folds);
  if (usable.empty()) return {};
  std::vector<Solution> at(static_cast<std::size_t>(folds),
                           {Eigen::VectorXd::Zero(solver.columns()), 0});
  std::vector<double> result;
  for (double c : grid) {
    double sum = 0;
    for (const int fold : usable) {
      Eigen::VectorXd kept = s;
      for (std::size_t i = 0; i < y.size(); ++i) {
        if (fold_of[i] == fold) kept[static_cast<int64_t>(i)] = 0;
      }
      Solution& solution = at[static_cast<std::size_t>(fold)];
      solution = solver.fit(kept, c, kFoldTolerance * c * kept.sum(), solution);
      sum += held_out_auroc(solver.margins(solution), y, fold_of, fold);
    }
    result.push_back(sum / static_cast<double>(usable.size()));
  }
  return result;
}

/// w of Z from the kernel's coordinates.
Chosen fit_in_kernel(const RowMajor& z, Labels y, const LogisticOptions& options, uint64_t seed) {
  Eigen::MatrixXd k = Eigen::MatrixXd::Zero(z.rows(), z.rows());
  k.selfadjointView<Eigen::Lower>().rankUpdate(z);
  const KernelFactor factor = factor_kernel(k);
  auto solver = make_l2_solver(factor.l, y);
  Chosen chosen = choose_and_fit(*solver, y, options, seed);
  chosen.solution.w = z.transpose() * factor.dual(chosen.solution.w);
  return chosen;
}

}  // namespace

std::vector<double> default_c_grid(Penalty penalty) {
  if (penalty == Penalty::l1) return {.01, .03, .1, .3, 1};
  return {1e-4, 1e-3, 1e-2, 1e-1, 1};
}

LogisticOptions by_document(std::span<const int64_t> documents, LogisticOptions options) {
  options.documents = documents;
  return options;
}

std::vector<double> LinearProbe::score(ConstMatrix x) const {
  if (x.cols != features) {
    throw Error(fmt::format("probe: scoring rows of {} features, fitted on {}", x.cols, features));
  }
  std::vector<double> result(static_cast<std::size_t>(x.rows));
  for (int64_t i = 0; i < x.rows; ++i) {
    const float* row = x.row(i);
    // Four sums in a fixed order: the same bits everywhere, and the adds do not wait for one
    // another.
    double sums[4] = {0, 0, 0, 0};
    for (std::size_t j = 0; j < weights.size(); ++j) {
      sums[j % 4] += weights[j] * static_cast<double>(
                                      row[columns.empty() ? static_cast<int64_t>(j) : columns[j]]);
    }
    result[static_cast<std::size_t>(i)] = bias + ((sums[0] + sums[1]) + (sums[2] + sums[3]));
  }
  return result;
}

void check_training(ConstMatrix x, Labels y, const char* probe) {
  if (x.rows != std::ssize(y))
    throw Error(fmt::format("{}: {} rows for {} labels", probe, x.rows, y.size()));
  if (x.cols < 1) throw Error(fmt::format("{}: no features", probe));
  int64_t counts[2] = {0, 0};
  for (int64_t i = 0; i < x.rows; ++i) {
    const uint8_t label = y[static_cast<std::size_t>(i)];
    if (label > 1)
      throw Error(fmt::format("{}: label of row {} is {}, expected 0 or 1", probe, i, label));
    ++counts[label];
    for (int64_t j = 0; j < x.cols; ++j) {
      if (!std::isfinite(x.row(i)[j])) {
        throw Error(fmt::format("{}: row {}, feature {} is {}, expected a number", probe, i, j,
                                x.row(i)[j]));
      }
    }
  }
  if (!counts[0] || !counts[1]) {
    throw Error(fmt::format("{}: {} positives and {} negatives, expected some of both", probe,
                            counts[1], counts[0]));
  }
}

Prepared prepare(ConstMatrix x, bool standardise) {
  Prepared result{RowMajor(x.rows, x.cols), Eigen::VectorXd::Zero(x.cols),
                  Eigen::VectorXd::Zero(x.cols)};
  const double n = static_cast<double>(x.rows);
  for (int64_t i = 0; i < x.rows; ++i) {
    for (int64_t j = 0; j < x.cols; ++j) result.z(i, j) = x.row(i)[j];
  }
  // A constant is recognised by its extremes: its computed variance need not be 0.
  const Eigen::VectorXd range = result.z.colwise().maxCoeff() - result.z.colwise().minCoeff();
  result.mean = result.z.colwise().sum().transpose() / n;
  result.z.rowwise() -= result.mean.transpose();
  const Eigen::VectorXd sd = (result.z.colwise().squaredNorm().transpose() / n).cwiseSqrt();
  const double floor = kConstant * sd.maxCoeff();
  for (int64_t j = 0; j < x.cols; ++j) {
    if (range[j] > 0 && sd[j] > floor) result.inverse_scale[j] = standardise ? 1 / sd[j] : 1;
  }
  result.z *= result.inverse_scale.asDiagonal();
  return result;
}

std::vector<int> stratified_folds(Labels y, std::span<const int64_t> documents, int folds,
                                  uint64_t seed) {
  if (folds < 1) throw Error(fmt::format("folds is {}, expected at least 1", folds));
  if (documents.size() != y.size())
    throw Error(fmt::format("folds: {} documents for {} rows", documents.size(), y.size()));
  std::unordered_map<int64_t, std::array<int64_t, 2>> rows_of;  // of a document, by class
  for (std::size_t i = 0; i < y.size(); ++i) ++rows_of[documents[i]][y[i]];
  std::vector<std::size_t> order[2];
  for (std::size_t i = 0; i < y.size(); ++i) order[y[i]].push_back(i);
  Rng rng(seed);
  for (auto& rows : order) rng.shuffle(std::span(rows));
  std::vector<std::array<int64_t, 2>> dealt(static_cast<std::size_t>(folds));
  std::unordered_map<int64_t, int> fold_of;
  std::array<std::size_t, 2> documents_of{};
  for (const auto& [document, rows] : rows_of)
    for (const int label : {0, 1}) documents_of[label] += rows[label] > 0;
  const int scarcer =
      std::pair(documents_of[1], order[1].size()) < std::pair(documents_of[0], order[0].size());
  for (const int label : {scarcer, 1 - scarcer}) {
    for (const std::size_t row : order[label]) {
      if (fold_of.count(documents[row])) continue;
      const auto emptiest =
          std::min_element(dealt.begin(), dealt.end(),
                           [&](const auto& a, const auto& b) { return a[label] < b[label]; });
      fold_of[documents[row]] = static_cast<int>(emptiest - dealt.begin());
      for (const int own : {0, 1}) (*emptiest)[own] += rows_of[documents[row]][own];
    }
  }
  std::vector<int> result;
  for (const int64_t document : documents) result.push_back(fold_of[document]);
  return result;
}

std::vector<int> two_sided_folds(Labels y, std::span<const int> fold_of, int folds) {
  std::vector<std::array<int64_t, 2>> inside(static_cast<std::size_t>(folds));
  std::array<int64_t, 2> all{};
  for (std::size_t i = 0; i < y.size(); ++i) {
    ++inside[static_cast<std::size_t>(fold_of[i])][y[i]];
    ++all[y[i]];
  }
  std::vector<int> result;
  for (int fold = 0; fold < folds; ++fold) {
    const auto& own = inside[static_cast<std::size_t>(fold)];
    if (own[0] && own[1] && own[0] < all[0] && own[1] < all[1]) result.push_back(fold);
  }
  return result;
}

std::vector<double> checked_grid(std::vector<double> grid, Penalty penalty) {
  if (grid.empty()) return default_c_grid(penalty);
  for (std::size_t i = 0; i < grid.size(); ++i)
    if (!std::isfinite(grid[i]) || grid[i] <= 0 || (i > 0 && grid[i] <= grid[i - 1]))
      throw Error(fmt::format(
          "logistic regression: C grid entry {} is {}, expected ascending positive numbers", i,
          grid[i]));
  return grid;
}

Chosen choose_and_fit(LogisticSolver& solver, Labels y, const LogisticOptions& options,
                      uint64_t seed) {
  const std::vector<double> grid = checked_grid(options.c_grid, options.penalty);
  if (grid.size() > 1 && options.folds < 2)
    throw Error(
        fmt::format("logistic regression: folds is {}, expected at least 2", options.folds));
  const Eigen::VectorXd s = sample_weights(y, options.balanced);
  Chosen result;
  result.c = grid.front();
  if (grid.size() > 1) {
    const std::vector<double> curve = cross_validate(solver, y, s, grid, options, seed);
    std::size_t best = 0;
    for (std::size_t i = 1; i < curve.size(); ++i) {
      if (curve[i] > curve[best] + kAurocTie) best = i;
    }
    result.c = grid[best];
    if (!curve.empty()) result.cv_auroc = curve[best];
  }
  result.solution = solver.fit(s, result.c, final_gradient(options.penalty, result.c * s.sum()),
                               {Eigen::VectorXd::Zero(solver.columns()), 0});
  return result;
}

LinearProbe fit_logistic(ConstMatrix x, Labels y, const LogisticOptions& options, uint64_t seed) {
  check_training(x, y, "logistic regression");
  const Prepared rows = prepare(x, options.standardise);
  Chosen chosen;
  if (options.penalty == Penalty::l2 && x.cols > x.rows) {
    chosen = fit_in_kernel(rows.z, y, options, seed);
  } else {
    auto solver =
        options.penalty == Penalty::l2 ? make_l2_solver(rows.z, y) : make_l1_solver(rows.z, y);
    chosen = choose_and_fit(*solver, y, options, seed);
  }
  LinearProbe probe;
  probe.features = x.cols;
  const Eigen::VectorXd w = chosen.solution.w.cwiseProduct(rows.inverse_scale);
  probe.weights.assign(w.begin(), w.end());
  probe.bias = chosen.solution.b - w.dot(rows.mean);
  probe.c = chosen.c;
  probe.cv_auroc = chosen.cv_auroc;
  return probe;
}

}  // namespace assay::eval
