#pragma once

#include <cstdint>

namespace assay {

/// A bijection of 64-bit words in which every input bit reaches every output bit (SplitMix64's:
/// Steele, Lea and Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014).
inline uint64_t mix64(uint64_t x) {
  x += 0x9e3779b97f4a7c15ull;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ull;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebull;
  return x ^ (x >> 31);
}

}  // namespace assay
