#include "eval/tasks/probing/search.h"

#include <algorithm>
#include <array>

#include "eval/tasks/probing/readings.h"

namespace assay::eval::probing {
namespace {

/// Adds the AUROC on the inner test for every C.
void add_path(const SparseCell& features, const ProbingCell& inner, const Reading& reading,
              std::vector<double>& by_c) {
  const LogisticOptions options = options_of(reading, features.train);
  const auto path =
      fit_path(features.train, inner.train.labels, options.c_grid, options.standardise);
  by_c.resize(path.size());
  for (size_t c = 0; c < path.size(); ++c)
    by_c[c] += auroc(score(path[c], features.id), inner.id.labels);
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
    SearchChoice best = best_.front();
    for (const SearchChoice& own : best_)
      if (own.inner_auroc > best.inner_auroc + kAurocTie) best = own;
    return best;
  }

 private:
  using Sums =
      std::vector<std::array<std::vector<double>, kReadings.size()>>;  // by size, of each C

  /// One pooling, with every reading that is wanted(size, reading).
  template <class Wanted>
  void attempt(size_t pooling, const Wanted& wanted) {
    Sums sums(best_.size());
    for (const ProbingCell& inner : inner_) {
      const SparseCell features = gather_(inner, pooling);
      std::vector<int64_t> ranked;
      for (size_t r = 0; r < kReadings.size(); ++r) {
        // The same values, z-scored or not, have the same ranking.
        if (r > 0 && kReadings[r].of != kReadings[r - 1].of) ranked.clear();
        std::vector<size_t> sizes;
        for (size_t i = 0; i < best_.size(); ++i)
          if (wanted(i, r)) sizes.push_back(i);
        if (!sizes.empty()) add_reading(inner, features, r, sizes, ranked, sums);
      }
    }
    keep_best(pooling, sums);
  }

  /// The AUROCs of one inner cell under one reading, for these sizes.
  void add_reading(const ProbingCell& inner, const SparseCell& features, size_t r,
                   const std::vector<size_t>& sizes, std::vector<int64_t>& ranked,
                   Sums& sums) const {
    const SparseCell own = read(features, kReadings[r]);
    for (const size_t i : sizes) {
      const std::optional<int64_t> k = best_[i].k;
      if (k && ranked.empty()) ranked = rank_features(own.train, inner.train.labels);
      if (k)
        add_path(best_columns(own, ranked, *k), inner, kReadings[r], sums[i][r]);
      else
        add_path(own, inner, kReadings[r], sums[i][r]);
    }
  }

  void keep_best(size_t pooling, const Sums& sums) {
    for (size_t i = 0; i < best_.size(); ++i)
      for (size_t r = 0; r < kReadings.size(); ++r)
        for (const double sum : sums[i][r])
          if (const double own = sum / static_cast<double>(inner_.size());
              own > best_[i].inner_auroc + kAurocTie)
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
