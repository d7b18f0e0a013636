#include "sae/assignment.h"

#include <cstddef>
#include <limits>
#include <utility>

namespace assay::sae {
namespace {

constexpr int64_t kNone = -1;

/// Rows are few, columns many (rows ≤ columns).
class Solver {
 public:
  explicit Solver(ConstMatrix cost)
      : cost_(cost),
        u_(size(cost.rows)),
        v_(size(cost.cols)),
        row_of_(size(cost.cols), kNone),
        column_of_(size(cost.rows), kNone) {}

  /// The column of each row.
  std::vector<int64_t> solve() {
    for (int64_t row = 0; row < cost_.rows; ++row) augment(row);
    return column_of_;
  }

 private:
  static std::size_t size(int64_t n) { return static_cast<std::size_t>(n); }

  /// Dijkstra over reduced costs from `row` to the nearest free column, then flip the path.
  void augment(int64_t row) {
    distance_.assign(size(cost_.cols), std::numeric_limits<double>::infinity());
    from_.assign(size(cost_.cols), kNone);
    left_.resize(size(cost_.cols));
    for (int64_t j = 0; j < cost_.cols; ++j) left_[size(j)] = j;
    reached_.clear();
    double shortest = 0;
    int64_t at = row, end = kNone;
    while (end == kNone) {
      const int64_t column = settle(at, shortest);
      reached_.push_back(column);
      at = row_of_[size(column)];
      if (at == kNone) end = column;
    }
    u_[size(row)] += shortest;
    for (const int64_t j : reached_) {
      if (j == end) continue;  // it keeps its potential: its distance is `shortest`
      const double slack = shortest - distance_[size(j)];
      u_[size(row_of_[size(j)])] += slack;
      v_[size(j)] -= slack;
    }
    flip(row, end);
  }

  /// Relaxes the edges of row `at`, takes the nearest column out of those left and returns it.
  int64_t settle(int64_t at, double& shortest) {
    double least = std::numeric_limits<double>::infinity();
    std::size_t nearest = 0;
    const float* costs = cost_.row(at);
    for (std::size_t i = 0; i < left_.size(); ++i) {
      const std::size_t j = size(left_[i]);
      const double through = shortest + static_cast<double>(costs[j]) - u_[size(at)] - v_[j];
      if (through < distance_[j]) {
        distance_[j] = through;
        from_[j] = at;
      }
      // Among equals a free column ends the search at once.
      if (distance_[j] < least || (distance_[j] == least && row_of_[j] == kNone)) {
        least = distance_[j];
        nearest = i;
      }
    }
    shortest = least;
    const int64_t column = left_[nearest];
    left_[nearest] = left_.back();
    left_.pop_back();
    return column;
  }

  void flip(int64_t row, int64_t column) {
    int64_t giver = kNone;
    while (giver != row) {
      giver = from_[size(column)];
      row_of_[size(column)] = giver;
      std::swap(column, column_of_[size(giver)]);
    }
  }

  ConstMatrix cost_;
  std::vector<double> u_, v_;
  std::vector<int64_t> row_of_, column_of_;
  std::vector<double> distance_;
  std::vector<int64_t> from_, left_, reached_;
};

}  // namespace

std::vector<int64_t> assign(ConstMatrix cost) {
  if (cost.rows <= cost.cols) return Solver(cost).solve();
  std::vector<float> turned(static_cast<size_t>(cost.rows * cost.cols));
  for (int64_t i = 0; i < cost.rows; ++i) {
    for (int64_t j = 0; j < cost.cols; ++j)
      turned[static_cast<size_t>(j * cost.rows + i)] = cost.row(i)[j];
  }
  std::vector<int64_t> column_of(static_cast<size_t>(cost.rows), kNone);
  const std::vector<int64_t> row_of = Solver({turned.data(), cost.cols, cost.rows}).solve();
  for (size_t j = 0; j < row_of.size(); ++j)
    column_of[static_cast<size_t>(row_of[j])] = static_cast<int64_t>(j);
  return column_of;
}

}  // namespace assay::sae
