// Documents that nearly repeat another: a split by document puts one of them into training and the
// other into a test, and the test's numbers are too good.
//
// A document is the set of its runs of five consecutive rows (all of its rows where it has fewer),
// a row standing for its token or, without tokens, for the bytes of its activation. Two documents
// are near duplicates where the estimated Jaccard similarity of their sets is at least 0.8:
// MinHash with 24 hash functions, found by 8 bands of 3 (Broder 1997; Leskovec, Rajaraman and
// Ullman, Mining of Massive Datasets, chapter 3). The count is deterministic.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <unordered_map>
#include <vector>

namespace assay::data {

class NearDuplicates {
 public:
  struct Count {
    int64_t documents = 0;
    int64_t repeats = 0;  ///< those that nearly repeat one with a smaller number
  };

  /// One row, in order; `key` is its token or a hash of its bytes.
  void add(int64_t document, uint64_t key);
  Count count() const;

 private:
  static constexpr size_t kRun = 5, kHashes = 24, kBands = 8, kAgree = 20;
  struct Document {
    std::array<uint32_t, kHashes> least;
    std::array<uint64_t, kRun> last{};
    uint64_t rows = 0;
  };
  using Signature = std::array<uint32_t, kHashes>;

  static void take(Signature& least, uint64_t run);
  static Signature signature(const Document& document);

  std::unordered_map<int64_t, Document> documents_;
};

}  // namespace assay::data
