// Random numbers with the same bits on every platform and standard library: a counter-based
// generator (SplitMix64: Steele, Lea and Flood, "Fast splittable pseudorandom number generators",
// OOPSLA 2014).
#pragma once

#include <cstdint>
#include <initializer_list>
#include <span>
#include <utility>

#include "kernels/base/mix64.h"

namespace assay::data {

/// A stream of words that depends on the key alone, in the order of its parts.
class Random {
 public:
  Random(std::initializer_list<uint64_t> key) {
    for (const uint64_t part : key) state_ = mix64(state_ ^ mix64(part));
  }
  uint64_t next() {
    state_ += 0x9e3779b97f4a7c15ull;
    uint64_t x = state_;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ull;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebull;
    return x ^ (x >> 31);
  }
  /// Uniform in [0, bound), bound > 0, without bias (words below 2^64 mod bound are drawn again).
  uint64_t below(uint64_t bound) {
    const uint64_t rejected = (0 - bound) % bound;
    uint64_t word = next();
    while (word < rejected) word = next();
    return word % bound;
  }

 private:
  uint64_t state_ = 0;
};

/// Fisher and Yates' shuffle: every order equally likely.
template <class T>
void shuffle(std::span<T> items, Random& random) {
  for (size_t i = items.size(); i > 1; --i) std::swap(items[i - 1], items[random.below(i)]);
}

}  // namespace assay::data
