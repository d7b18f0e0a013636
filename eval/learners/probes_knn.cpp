#include <fmt/format.h>

#include <algorithm>
#include <numeric>

#include "eval/learners/linear_solver.h"
#include "eval/learners/probes.h"
#include "kernels/base/error.h"

namespace assay::eval {
namespace {

constexpr int64_t kBlock = 128;  // queries whose similarities stand in memory at once

RowMajor unit_rows(ConstMatrix x) {
  RowMajor result(x.rows, x.cols);
  for (int64_t i = 0; i < x.rows; ++i) {
    for (int64_t j = 0; j < x.cols; ++j) result(i, j) = x.row(i)[j];
    const double length = result.row(i).norm();
    if (length > 0) result.row(i) /= length;
  }
  return result;
}

class Knn : public Scorer {
 public:
  Knn(ConstMatrix x, Labels y, int64_t k)
      : rows_(unit_rows(x)), labels_(y.begin(), y.end()), k_(k) {}

  std::vector<double> score(ConstMatrix x) const override {
    if (x.cols != rows_.cols()) {
      throw Error(
          fmt::format("kNN: scoring rows of {} features, fitted on {}", x.cols, rows_.cols()));
    }
    std::vector<double> result;
    result.reserve(static_cast<std::size_t>(x.rows));
    for (int64_t first = 0; first < x.rows; first += kBlock) {
      const RowMajor queries = unit_rows(x.slice(first, std::min(kBlock, x.rows - first)));
      const RowMajor similarity = queries * rows_.transpose();
      for (int64_t i = 0; i < queries.rows(); ++i)
        result.push_back(share(similarity.row(i).data()));
    }
    return result;
  }

 private:
  double share(const double* similarity) const {
    std::vector<std::size_t> order(labels_.size());
    std::iota(order.begin(), order.end(), std::size_t{0});
    std::nth_element(
        order.begin(), order.begin() + (k_ - 1), order.end(), [&](std::size_t a, std::size_t b) {
          return similarity[a] > similarity[b] || (similarity[a] == similarity[b] && a < b);
        });
    int64_t positives = 0;
    for (int64_t i = 0; i < k_; ++i) positives += labels_[order[static_cast<std::size_t>(i)]];
    return static_cast<double>(positives) / static_cast<double>(k_);
  }

  RowMajor rows_;
  std::vector<uint8_t> labels_;
  int64_t k_;
};

}  // namespace

std::unique_ptr<Scorer> fit_knn(ConstMatrix x, Labels y, int64_t k) {
  check_training(x, y, "kNN");
  if (k < 1 || k > x.rows)
    throw Error(fmt::format("kNN: {} neighbours of {} rows, expected 1 to {}", k, x.rows, x.rows));
  return std::make_unique<Knn>(x, y, k);
}

}  // namespace assay::eval
