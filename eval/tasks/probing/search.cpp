#include "eval/tasks/probing/search.h"

#include <algorithm>
#include <array>

#include "eval/tasks/probing/readings.h"

namespace assay::eval::probing {
namespace {

/// The best k columns of the ranking (fewer if there are not so many), as features of their own.
SparseFeatures first_columns(const SparseFeatures& x, const std::vector<int64_t>& ranked,
                             int64_t k) {
  const std::vector<int64_t> columns(ranked.begin(),
                                     ranked.begin() + std::min<int64_t>(k, std::ssize(ranked)));
  const std::vector<float> values = dense_columns(x, columns);
  return sparse_of(ConstMatrix{values.data(), x.rows(), std::ssize(columns)}, x.documents);
}

/// Adds the AUROC on the inner test for every C.
void add_path(const SparseFeatures& train, const SparseFeatures& test, const ProbingCell& inner,
              const Reading& reading, std::vector<double>& by_c) {
  const auto path = fit_path(train, inner.train.labels, options_of(reading, train));
  by_c.resize(path.size());
  for (size_t c = 0; c < path.size(); ++c) by_c[c] += auroc(score(path[c], test), inner.id.labels);
}

class Search {
 public:
  Search(const std::vector<ProbingCell>& inner, const Gather& gather,
         const std::vector<int64_t>& top_k)
      : inner_(inner), gather_(gather) {
    for (const int64_t k : top_k) best_.push_back({0, 0, k, -1});
    std::sort(best_.begin(), best_.end(),
              [](const SearchChoice& a, const SearchChoice& b) { return *a.k < *b.k; });
    best_.push_back({0, 0, std::nullopt, -1});
  }

  SearchChoice run() {
    attempt(0, [](size_t, size_t) { return true; });
    const std::vector<SearchChoice> by_mean = best_;
    for (size_t pooling = 1; pooling < std::size(kPoolings); ++pooling)
      attempt(pooling, [&](size_t size, size_t r) { return by_mean[size].reading == r; });
    return *std::max_element(
        best_.begin(), best_.end(),
        [](const SearchChoice& a, const SearchChoice& b) { return a.inner_auroc < b.inner_auroc; });
  }

 private:
  /// One pooling, with every reading that is wanted(size, reading).
  template <class Wanted>
  void attempt(size_t pooling, const Wanted& wanted) {
    std::vector<std::array<std::vector<double>, kReadings.size()>> sums(best_.size());
    for (const ProbingCell& inner : inner_) {
      const SparseCell features = gather_(inner, pooling);
      for (size_t r = 0; r < kReadings.size(); ++r) {
        const SparseFeatures train = read(features.train, kReadings[r]),
                             test = read(features.id, kReadings[r]);
        std::vector<int64_t> ranked;
        for (size_t i = 0; i < best_.size(); ++i) {
          if (!wanted(i, r)) continue;
          if (best_[i].k && ranked.empty()) ranked = rank_features(train, inner.train.labels);
          if (const auto k = best_[i].k)
            add_path(first_columns(train, ranked, *k), first_columns(test, ranked, *k), inner,
                     kReadings[r], sums[i][r]);
          else
            add_path(train, test, inner, kReadings[r], sums[i][r]);
        }
      }
    }
    for (size_t i = 0; i < best_.size(); ++i)
      for (size_t r = 0; r < kReadings.size(); ++r)
        for (const double sum : sums[i][r])
          if (const double own = sum / static_cast<double>(inner_.size());
              own > best_[i].inner_auroc)
            best_[i] = {pooling, r, best_[i].k, own};
  }

  const std::vector<ProbingCell>& inner_;
  const Gather& gather_;
  std::vector<SearchChoice> best_;  // of each size, all features last
};

}  // namespace

SearchedArm searched_arm(const std::string& method, const ProbingCell& cell,
                         const std::vector<ProbingCell>& inner, const Gather& gather,
                         const std::vector<int64_t>& top_k, uint64_t seed) {
  const SearchChoice choice = Search(inner, gather, top_k).run();
  return {read_arm(method, cell, gather(cell, choice.pooling), kReadings[choice.reading], choice.k,
                   seed),
          choice};
}

}  // namespace assay::eval::probing
