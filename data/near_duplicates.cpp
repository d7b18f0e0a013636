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
  std::vector<std::pair<int64_t, Signature>> all;
  all.reserve(documents_.size());
  for (const auto& [number, document] : documents_) all.emplace_back(number, signature(document));
  std::sort(all.begin(), all.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
  const auto alike = [&](size_t a, size_t b) {
    size_t agree = 0;
    for (size_t i = 0; i < kHashes; ++i) agree += all[a].second[i] == all[b].second[i];
    return agree >= kAgree;
  };
  std::vector<uint8_t> repeats(all.size(), 0);
  std::vector<std::pair<uint64_t, size_t>> band(all.size());  // one at a time: hash, document
  for (size_t b = 0; b < kBands; ++b) {
    constexpr size_t kWidth = kHashes / kBands, kMost = 8;  // of a band's documents compared
    for (size_t i = 0; i < all.size(); ++i) {
      const auto first = all[i].second.begin() + static_cast<int64_t>(b * kWidth);
      band[i] = {hash_of(first, first + kWidth), i};
    }
    std::sort(band.begin(), band.end());
    for (size_t i = 0, first = 0; i < band.size(); ++i) {
      if (band[i].first != band[first].first) first = i;
      uint8_t& found = repeats[band[i].second];
      for (size_t k = first; k < std::min(i, first + kMost) && found == 0; ++k)
        found = alike(band[i].second, band[k].second) ? 1 : 0;
    }
  }
  return {std::ssize(all), std::count(repeats.begin(), repeats.end(), 1)};
}

}  // namespace assay::data
