#include "data/near_duplicates.h"

#include <algorithm>

#include "kernels/base/mix64.h"

namespace assay::data {
namespace {

/// Hash of keys [first, last) in their order.
template <class Iterator>
uint64_t hash_of(Iterator first, Iterator last) {
  uint64_t hash = 0;
  for (; first != last; ++first) hash = mix64(hash ^ *first);
  return hash;
}

}  // namespace

void NearDuplicates::take(Signature& least, uint64_t run) {
  for (size_t i = 0; i < kHashes; ++i)
    least[i] = std::min(least[i], static_cast<uint32_t>(mix64(run + i) >> 32));
}

void NearDuplicates::add(int64_t document, uint64_t key) {
  const auto [at, is_new] = documents_.try_emplace(document);
  Document& d = at->second;
  if (is_new) d.least.fill(UINT32_MAX);
  std::rotate(d.last.begin(), d.last.begin() + 1, d.last.end());
  d.last.back() = mix64(key + 1);
  if (++d.rows >= kRun) take(d.least, hash_of(d.last.begin(), d.last.end()));
}

NearDuplicates::Signature NearDuplicates::signature(const Document& document) {
  Signature least = document.least;
  if (document.rows < kRun) {  // all its rows, and how many: nothing longer is like it
    const auto first = document.last.end() - static_cast<int64_t>(document.rows);
    take(least, hash_of(first, document.last.end()) ^ document.rows);
  }
  return least;
}

NearDuplicates::Count NearDuplicates::count() const {
  std::vector<int64_t> order;
  order.reserve(documents_.size());
  for (const auto& [number, document] : documents_) order.push_back(number);
  std::sort(order.begin(), order.end());
  std::vector<Signature> seen;
  std::array<std::unordered_map<uint64_t, std::vector<size_t>>, kBands> bands;
  Count result;
  for (const int64_t number : order) {
    const Signature own = signature(documents_.at(number));
    const auto alike = [&](size_t other) {
      size_t agree = 0;
      for (size_t i = 0; i < kHashes; ++i) agree += own[i] == seen[other][i];
      return agree >= kAgree;
    };
    bool repeats = false;
    for (size_t b = 0; b < kBands; ++b) {
      constexpr size_t kWidth = kHashes / kBands, kMost = 8;  // of a band's documents compared
      const auto first = own.begin() + static_cast<int64_t>(b * kWidth);
      std::vector<size_t>& others = bands[b][hash_of(first, first + kWidth)];
      repeats = repeats || std::any_of(others.begin(), others.end(), alike);
      if (others.size() < kMost) others.push_back(seen.size());
    }
    seen.push_back(own);
    ++result.documents;
    result.repeats += repeats;
  }
  return result;
}

}  // namespace assay::data
