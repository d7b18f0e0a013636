#include "sae/planted.h"

#include <fmt/core.h>

#include <algorithm>
#include <cmath>

#include "kernels/base/error.h"
#include "kernels/primitives.h"
#include "kernels/sparse_decode.h"

namespace assay::sae {
namespace {

// Separate the uses of the seed.
enum Use : uint64_t { kFeature = 1, kProbability, kLoading, kCode, kNoise };

constexpr int64_t kBlock = 64;  // rows a task

double phi(double x) { return 0.5 * std::erfc(-x * M_SQRT1_2); }

/// t with 1 − Φ(t) = p, by bisection to the last bit.
double upper_quantile(double p) {
  double low = -40, high = 40;
  for (int i = 0; i < 100; ++i) {
    const double middle = (low + high) / 2;
    (phi(-middle) > p ? low : high) = middle;
  }
  return high;
}

int64_t tree_size(const PlantedOptions& o) {
  int64_t level = 1, size = 0;
  for (int64_t l = 0; l <= o.depth && size <= o.n; ++l, level *= o.branching) size += level;
  return size;
}

void check(const PlantedOptions& o) {
  if (o.log10_least > o.log10_largest) {
    throw UsageError(fmt::format("log10_least = {} is above log10_largest = {}", o.log10_least,
                                 o.log10_largest));
  }
  if (o.roots == 0) return;
  if (tree_size(o) > o.n / o.roots) {
    throw UsageError(fmt::format(
        "{} trees of {} or more features (branching {}, depth {}) do not fit n = {}: raise n",
        o.roots, tree_size(o), o.branching, o.depth, o.n));
  }
}

std::vector<float> draw_features(const PlantedOptions& o) {
  std::vector<float> rows(static_cast<size_t>(o.n * o.d));
  for (int64_t i = 0; i < o.n; ++i) {
    Random random{static_cast<uint64_t>(o.seed), kFeature, static_cast<uint64_t>(i)};
    std::vector<double> row(static_cast<size_t>(o.d));
    double square = 0;
    for (double& v : row) {
      v = normal(random);
      square += v * v;
    }
    for (int64_t c = 0; c < o.d; ++c) {
      rows[static_cast<size_t>(i * o.d + c)] =
          static_cast<float>(row[static_cast<size_t>(c)] / std::sqrt(square));
    }
  }
  return rows;
}

}  // namespace

PlantedModel::PlantedModel(const PlantedOptions& options) : options_(options) {
  check(options_);
  features_ = draw_features(options_);
  plant_trees();
  set_probabilities();
  set_correlations();
}

/// Roots come first, then their descendants level by level, then the features outside all trees.
void PlantedModel::plant_trees() {
  const auto n = static_cast<size_t>(options_.n);
  parents_.assign(n, -1);
  first_child_.assign(n, -1);
  int64_t level = 0, end = options_.roots;  // features [level, end) are the last level planted
  for (int64_t l = 0; l < options_.depth && options_.roots > 0; ++l) {
    int64_t next = end;
    for (int64_t i = level; i < end; ++i) {
      first_child_[static_cast<size_t>(i)] = static_cast<int32_t>(next);
      for (int64_t b = 0; b < options_.branching; ++b)
        parents_[static_cast<size_t>(next++)] = static_cast<int32_t>(i);
    }
    level = end;
    end = next;
  }
  double sum = 0;
  for (int64_t b = 0; b < options_.branching; ++b) {
    child_weights_.push_back(sum += options_.firing == "zipf"
                                        ? std::pow(static_cast<double>(b + 1), -options_.zipf)
                                        : 1);
  }
  for (double& weight : child_weights_) weight *= options_.descend / sum;
}

/// Roots and free features have the chosen distribution; a child its parent's share. Sums to l0,
/// where that is free.
void PlantedModel::set_probabilities() {
  const PlantedOptions& o = options_;
  probabilities_.assign(static_cast<size_t>(o.n), 0);
  double below = 1, q = 1;  // active features of a tree whose root is active
  for (int64_t l = 0; l < o.depth; ++l) below += q *= o.descend;
  double sum = 0;
  int64_t rank = 0;
  for (size_t i = 0; i < probabilities_.size(); ++i) {
    if (parents_[i] >= 0) continue;
    Random random{static_cast<uint64_t>(o.seed), kProbability, i};
    double& p = probabilities_[i];
    p = o.firing == "zipf" ? std::pow(static_cast<double>(++rank), -o.zipf)
        : o.firing == "constant"
            ? 1
            : std::pow(10, o.log10_least + (o.log10_largest - o.log10_least) * uniform(random));
    sum += p * (first_child_[i] >= 0 ? below : 1);
  }
  for (size_t i = 0; i < probabilities_.size(); ++i) {
    if (parents_[i] < 0) {
      if (o.firing != "log_uniform") probabilities_[i] *= o.l0 / sum;
      if (probabilities_[i] <= 1) continue;
      throw UsageError(
          fmt::format("feature {} would fire with probability {:.3g}: lower l0 = {} or raise n", i,
                      probabilities_[i], o.l0));
    }
    const auto parent = static_cast<size_t>(parents_[i]);
    const size_t sibling = i - static_cast<size_t>(first_child_[parent]);
    const double share = child_weights_[sibling] - (sibling > 0 ? child_weights_[sibling - 1] : 0);
    probabilities_[i] = probabilities_[parent] * share;
  }
}

void PlantedModel::set_correlations() {
  const int64_t rank = options_.correlation_rank;
  if (rank == 0) return;
  loadings_.resize(static_cast<size_t>(options_.n * rank));
  for (int64_t i = 0; i < options_.n; ++i) {
    Random random{static_cast<uint64_t>(options_.seed), kLoading, static_cast<uint64_t>(i)};
    double* row = loadings_.data() + i * rank;
    double square = 0;
    for (int64_t r = 0; r < rank; ++r) {
      row[r] = normal(random);
      square += row[r] * row[r];
    }
    for (int64_t r = 0; r < rank; ++r) row[r] *= options_.correlation / std::sqrt(square);
  }
  for (const double p : probabilities_) thresholds_.push_back(upper_quantile(p));
}

double PlantedModel::l0() const {
  double sum = 0;
  for (const double p : probabilities_) sum += p;
  return sum;
}

double PlantedModel::independent_variance() const {
  if (options_.roots > 0 || options_.correlation_rank > 0) {
    throw UsageError("the variance has no closed form where features depend on each other");
  }
  const double s2 = options_.magnitude_sigma * options_.magnitude_sigma;
  const double first = std::exp(s2 / 2), second = std::exp(2 * s2);  // moments of LogNormal(0, σ)
  double sum = static_cast<double>(options_.d) * options_.noise * options_.noise;
  for (const double p : probabilities_) sum += p * second - p * p * first * first;
  return sum;
}

/// Given the row's factors u, a correlated feature exceeds its threshold with probability Φ((a·u −
/// t)/√(1 − s²)).
bool PlantedModel::fires(int64_t feature, const std::vector<double>& factors,
                         Random& random) const {
  const auto i = static_cast<size_t>(feature);
  if (factors.empty()) return uniform(random) < probabilities_[i];
  const double* loading = loadings_.data() + i * factors.size();
  double shift = -thresholds_[i];
  for (size_t r = 0; r < factors.size(); ++r) shift += loading[r] * factors[r];
  return uniform(random) < phi(shift / std::sqrt(1 - options_.correlation * options_.correlation));
}

void PlantedModel::draw(int64_t row, std::vector<int32_t>& indices,
                        std::vector<float>& values) const {
  Random random{static_cast<uint64_t>(options_.seed), kCode, static_cast<uint64_t>(row)};
  std::vector<double> factors(static_cast<size_t>(options_.correlation_rank));
  for (double& u : factors) u = normal(random);
  indices.clear();
  values.clear();
  for (int64_t i = 0; i < options_.n; ++i) {
    if (parents_[static_cast<size_t>(i)] >= 0 || !fires(i, factors, random)) continue;
    indices.push_back(static_cast<int32_t>(i));
    for (int32_t child = first_child_[static_cast<size_t>(i)]; child >= 0;
         child = first_child_[static_cast<size_t>(child)]) {
      const auto chosen =
          std::upper_bound(child_weights_.begin(), child_weights_.end(), uniform(random));
      if (chosen == child_weights_.end()) break;
      indices.push_back(child += static_cast<int32_t>(chosen - child_weights_.begin()));
    }
  }
  std::sort(indices.begin(), indices.end());
  for (size_t i = 0; i < indices.size(); ++i) {
    values.push_back(static_cast<float>(std::exp(options_.magnitude_sigma * normal(random))));
  }
}

SparseCodes PlantedModel::codes(Context& context, int64_t first, int64_t count) const {
  const int64_t tasks = (count + kBlock - 1) / kBlock;
  std::vector<SparseCodes> parts(static_cast<size_t>(tasks));
  context.pool().run(tasks, [&](int64_t task, int) {
    std::vector<int32_t> indices;
    std::vector<float> values;
    SparseCodes& part = parts[static_cast<size_t>(task)];
    for (int64_t i = task * kBlock; i < std::min(count, (task + 1) * kBlock); ++i) {
      draw(first + i, indices, values);
      part.indices.insert(part.indices.end(), indices.begin(), indices.end());
      part.values.insert(part.values.end(), values.begin(), values.end());
      part.row_offsets.push_back(static_cast<int64_t>(part.indices.size()));
    }
  });
  SparseCodes all;
  for (const SparseCodes& part : parts) {
    const int64_t before = all.pairs();
    for (int64_t i = 1; i <= part.rows(); ++i)
      all.row_offsets.push_back(before + part.row_offsets[static_cast<size_t>(i)]);
    all.indices.insert(all.indices.end(), part.indices.begin(), part.indices.end());
    all.values.insert(all.values.end(), part.values.begin(), part.values.end());
  }
  return all;
}

void PlantedModel::activations(Context& context, int64_t first, const SparseCodes& codes,
                               Matrix out) const {
  sparse_decode(context, codes, features(), nullptr, out);
  if (options_.noise == 0) return;
  context.pool().run((out.rows + kBlock - 1) / kBlock, [&](int64_t task, int) {
    for (int64_t i = task * kBlock; i < std::min(out.rows, (task + 1) * kBlock); ++i) {
      Random random{static_cast<uint64_t>(options_.seed), kNoise, static_cast<uint64_t>(first + i)};
      for (int64_t c = 0; c < out.cols; ++c)
        out.row(i)[c] += static_cast<float>(options_.noise * normal(random));
    }
  });
}

}  // namespace assay::sae
