#include "eval/learners/sparse.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "eval/learners/linear_solver.h"
#include "eval/learners/probes.h"
#include "eval/learners/sparse_columns.h"
#include "kernels/base/error.h"

namespace assay::eval {
namespace {

/// |μ₁ − μ₀| and the deviation of a column, summed in row order as feature_contrast does.
struct Contrast {
  double difference = 0, sd = 0;
};

Contrast contrast(const SparseColumns& x, int64_t column, Labels y, double positives) {
  const double n = static_cast<double>(x.rows);
  double sums[2] = {0, 0}, squares = 0;
  for (int64_t p = x.first[column]; p < x.first[column + 1]; ++p)
    sums[y[static_cast<std::size_t>(x.row[p])]] += x.value[p];
  const double mean = (sums[0] + sums[1]) / n, of_zero = mean * mean;
  int64_t row = 0;
  for (int64_t p = x.first[column]; p < x.first[column + 1]; ++p, ++row) {
    for (; row < x.row[p]; ++row) squares += of_zero;
    squares += (x.value[p] - mean) * (x.value[p] - mean);
  }
  for (; row < x.rows; ++row) squares += of_zero;
  return {std::abs(sums[1] / positives - sums[0] / (n - positives)), std::sqrt(squares / n)};
}

}  // namespace

SparseFeatures sparse_of(ConstMatrix x, std::vector<int64_t> documents) {
  SparseFeatures out{x.cols, {}, std::move(documents)};
  for (int64_t i = 0; i < x.rows; ++i) {
    for (int64_t j = 0; j < x.cols; ++j) {
      if (x.row(i)[j] == 0) continue;
      out.codes.indices.push_back(static_cast<int32_t>(j));
      out.codes.values.push_back(x.row(i)[j]);
    }
    out.codes.row_offsets.push_back(std::ssize(out.codes.indices));
  }
  return out;
}

SparseColumns by_column(const SparseFeatures& x) {
  SparseColumns out;
  out.rows = x.rows();
  out.first.assign(static_cast<std::size_t>(x.cols) + 1, 0);
  for (const int32_t j : x.codes.indices) ++out.first[static_cast<std::size_t>(j) + 1];
  std::partial_sum(out.first.begin(), out.first.end(), out.first.begin());
  out.row.resize(x.codes.indices.size());
  out.value.resize(x.codes.indices.size());
  std::vector<int64_t> next(out.first.begin(), out.first.end() - 1);
  for (int64_t i = 0; i < x.rows(); ++i) {
    for (int64_t p = x.codes.row_offsets[i]; p < x.codes.row_offsets[i + 1]; ++p) {
      const int64_t at = next[x.codes.indices[p]]++;
      out.row[at] = static_cast<int32_t>(i);
      out.value[at] = x.codes.values[p];
    }
  }
  return out;
}

void check_training(const SparseFeatures& x, Labels y, const char* probe) {
  for (int64_t i = 0; i < x.rows(); ++i) {
    for (int64_t p = x.codes.row_offsets[i]; p < x.codes.row_offsets[i + 1]; ++p) {
      if (!std::isfinite(x.codes.values[p])) {
        throw Error(fmt::format("{}: row {}, feature {} is {}, expected a number", probe, i,
                                x.codes.indices[p], x.codes.values[p]));
      }
    }
  }
  // Shapes and labels alone: a column of zeros is finite.
  const std::vector<float> zeros(static_cast<std::size_t>(x.rows()));
  check_training(ConstMatrix{zeros.data(), x.rows(), std::min<int64_t>(x.cols, 1)}, y, probe);
}

std::vector<int64_t> rank_features(const SparseFeatures& x, Labels y) {
  check_training(x, y, "feature selection");
  const SparseColumns columns = by_column(x);
  const double positives = static_cast<double>(std::count(y.begin(), y.end(), uint8_t{1}));
  std::vector<double> difference, sd;
  for (int64_t j = 0; j < x.cols; ++j) {
    const Contrast own = contrast(columns, j, y, positives);
    difference.push_back(own.difference);
    sd.push_back(own.sd);
  }
  const double floor = .5 * quantile(sd, .5);
  for (std::size_t j = 0; j < sd.size(); ++j)
    difference[j] = sd[j] > 0 ? difference[j] / (sd[j] + floor) : 0;
  std::vector<int64_t> order(sd.size());
  std::iota(order.begin(), order.end(), int64_t{0});
  std::stable_sort(order.begin(), order.end(), [&](int64_t a, int64_t b) {
    return difference[static_cast<std::size_t>(a)] > difference[static_cast<std::size_t>(b)];
  });
  return order;
}

std::vector<float> dense_columns(const SparseFeatures& x, const std::vector<int64_t>& columns) {
  std::vector<int64_t> place(static_cast<std::size_t>(x.cols), -1);
  for (std::size_t k = 0; k < columns.size(); ++k) {
    if (columns[k] < 0 || columns[k] >= x.cols)
      throw Error(
          fmt::format("feature selection: column {}, expected 0 to {}", columns[k], x.cols - 1));
    place[columns[k]] = static_cast<int64_t>(k);
  }
  std::vector<float> out(static_cast<std::size_t>(x.rows()) * columns.size());
  for (int64_t i = 0; i < x.rows(); ++i)
    for (int64_t p = x.codes.row_offsets[i]; p < x.codes.row_offsets[i + 1]; ++p)
      if (const int64_t k = place[x.codes.indices[p]]; k >= 0)
        out[i * std::ssize(columns) + k] = x.codes.values[p];
  return out;
}

double mean_variance(const SparseFeatures& x) {
  double total = 0;
  const SparseColumns columns = by_column(x);
  for (int64_t j = 0; j < x.cols; ++j) {
    const int64_t first = columns.first[j], last = columns.first[j + 1];
    const double from = columns.full(j) ? columns.value[first] : 0;
    double sum = 0, squares = 0;
    for (int64_t p = first; p < last; ++p) {
      const double own = columns.value[p] - from;
      sum += own;
      squares += own * own;
    }
    const double mean = sum / static_cast<double>(x.rows());
    total += squares / static_cast<double>(x.rows()) - mean * mean;
  }
  return total / static_cast<double>(std::max<int64_t>(1, x.cols));
}

LinearProbe fit_columns(const SparseFeatures& x, Labels y, const std::vector<int64_t>& columns,
                        const LogisticOptions& options, uint64_t seed) {
  const std::vector<float> chosen = dense_columns(x, columns);
  LinearProbe probe = fit_logistic(ConstMatrix{chosen.data(), x.rows(), std::ssize(columns)}, y,
                                   by_document(x.documents, options), seed);
  probe.features = x.cols;
  probe.columns = columns;
  return probe;
}

std::vector<double> score(const LinearProbe& probe, const SparseFeatures& x) {
  if (x.cols != probe.features)
    throw Error(
        fmt::format("probe: scoring rows of {} features, fitted on {}", x.cols, probe.features));
  if (!probe.columns.empty()) {
    LinearProbe own = probe;
    own.features = std::ssize(probe.columns);
    own.columns.clear();
    const std::vector<float> chosen = dense_columns(x, probe.columns);
    return own.score({chosen.data(), x.rows(), own.features});
  }
  std::vector<double> result;
  for (int64_t i = 0; i < x.rows(); ++i) {
    double sums[4] = {0, 0, 0, 0};  // as LinearProbe::score sums
    for (int64_t p = x.codes.row_offsets[i]; p < x.codes.row_offsets[i + 1]; ++p) {
      const int32_t j = x.codes.indices[p];
      sums[j % 4] += probe.weights[static_cast<std::size_t>(j)] * x.codes.values[p];
    }
    result.push_back(probe.bias + ((sums[0] + sums[1]) + (sums[2] + sums[3])));
  }
  return result;
}

}  // namespace assay::eval
