// Random numbers whose bits depend on the seed alone, on every platform and standard library: the
// standard's distributions differ between implementations and are not used.
//
// Random (SplitMix64: Steele, Lea and Flood, "Fast splittable pseudorandom number generators",
// OOPSLA 2014) has a key of several parts: training and planted data are drawn from it. Rng
// (xoshiro256**: Blackman and Vigna 2018, seeded by SplitMix64) is what evaluations sample
// and resample by, and fine-tuning orders texts by. They are two because one would change the bits
// of every trained dictionary, or of every published number.
#pragma once

#include <array>
#include <cmath>
#include <cstdint>
#include <initializer_list>
#include <numbers>
#include <numeric>
#include <span>
#include <utility>
#include <vector>

#include "kernels/base/mix64.h"

namespace assay {

/// One step of splitmix64; advances `state`.
inline uint64_t splitmix64(uint64_t& state) {
  const uint64_t word = mix64(state);
  state += 0x9e3779b97f4a7c15ULL;
  return word;
}

/// An independent seed for the part of the work that `path` names, e.g. derive_seed(seed, {class,
/// swap}).
inline uint64_t derive_seed(uint64_t seed, std::initializer_list<uint64_t> path) {
  uint64_t result = splitmix64(seed);
  for (uint64_t step : path) {
    uint64_t state = result ^ (step * 0xd1342543de82ef95ULL + 1);
    result = splitmix64(state);
  }
  return result;
}

/// Uniform in [0, 1), a multiple of 2^-53.
template <class Generator>
double uniform(Generator& random) {
  return static_cast<double>(random.next() >> 11) * 0x1p-53;
}

/// Standard normal (Box-Muller, two uniforms a call).
template <class Generator>
double normal(Generator& random) {
  const double radius = std::sqrt(-2.0 * std::log(1.0 - uniform(random)));
  return radius * std::cos(2.0 * std::numbers::pi * uniform(random));
}

/// Fisher and Yates' shuffle: every order equally likely.
template <class T, class Generator>
void shuffle(std::span<T> items, Generator& random) {
  for (size_t i = items.size(); i > 1; --i) std::swap(items[i - 1], items[random.below(i)]);
}

/// A stream of words that depends on the key alone, in the order of its parts.
class Random {
 public:
  Random(std::initializer_list<uint64_t> key) {
    for (const uint64_t part : key) state_ = mix64(state_ ^ mix64(part));
  }
  uint64_t next() { return splitmix64(state_); }
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

class Rng {
 public:
  explicit Rng(uint64_t seed) {
    for (uint64_t& word : state_) word = splitmix64(seed);
  }

  uint64_t next() {
    const uint64_t result = rotl(state_[1] * 5, 7) * 9, t = state_[1] << 17;
    state_[2] ^= state_[0];
    state_[3] ^= state_[1];
    state_[1] ^= state_[2];
    state_[0] ^= state_[3];
    state_[2] ^= t;
    state_[3] = rotl(state_[3], 45);
    return result;
  }

  /// Uniform in [0, bound), bound >= 1, without bias (Lemire 2019, with rejection).
  uint64_t below(uint64_t bound) {
    __extension__ using Wide = unsigned __int128;
    Wide product = static_cast<Wide>(next()) * bound;
    if (static_cast<uint64_t>(product) < bound) {
      const uint64_t rejected = (0 - bound) % bound;
      while (static_cast<uint64_t>(product) < rejected) product = static_cast<Wide>(next()) * bound;
    }
    return static_cast<uint64_t>(product >> 64);
  }

  double uniform() { return assay::uniform(*this); }
  double normal() { return assay::normal(*this); }
  template <class T>
  void shuffle(std::span<T> values) {
    assay::shuffle(values, *this);
  }

  /// A random order of 0 … n − 1.
  std::vector<int64_t> permutation(int64_t n) {
    std::vector<int64_t> order(static_cast<std::size_t>(n));
    std::iota(order.begin(), order.end(), int64_t{0});
    shuffle(std::span(order));
    return order;
  }

 private:
  static uint64_t rotl(uint64_t x, int k) { return (x << k) | (x >> (64 - k)); }
  std::array<uint64_t, 4> state_{};
};

}  // namespace assay
