#include "data/base/crc32c.h"

#include <array>
#include <cstring>

#if defined(__SSE4_2__) && !defined(ASSAY_CRC32C_TABLE)
#include <nmmintrin.h>

#include "data/base/crc32c_fold.h"
#define ASSAY_CRC32C_HARDWARE 1
#endif

namespace assay::data {
namespace {

constexpr uint32_t kPolynomial = 0x82f63b78u;  // reflected

constexpr std::array<uint32_t, 256> byte_table() {
  std::array<uint32_t, 256> table{};
  for (uint32_t i = 0; i < 256; ++i) {
    uint32_t crc = i;
    for (int bit = 0; bit < 8; ++bit) crc = (crc >> 1) ^ ((crc & 1u) ? kPolynomial : 0u);
    table[i] = crc;
  }
  return table;
}
constexpr auto kTable = byte_table();

#ifdef ASSAY_CRC32C_HARDWARE

// The instruction has a latency of three cycles and a throughput of one, so three streams run side
// by side; their checksums are joined by advancing over the zeros that stand for the later streams
// (a linear map, tabled by byte).
constexpr size_t kStream = 4096;

using ShiftTable = std::array<std::array<uint32_t, 256>, 4>;

constexpr uint32_t after_zero_byte(uint32_t crc) { return kTable[crc & 0xff] ^ (crc >> 8); }

constexpr uint32_t apply(const std::array<uint32_t, 32>& columns, uint32_t crc) {
  uint32_t sum = 0;
  for (size_t bit = 0; bit < 32; ++bit) sum ^= ((crc >> bit) & 1u) ? columns[bit] : 0u;
  return sum;
}

constexpr ShiftTable shift_table() {
  std::array<uint32_t, 32> columns{};
  for (size_t bit = 0; bit < 32; ++bit) columns[bit] = after_zero_byte(1u << bit);
  for (size_t length = 1; length < kStream; length *= 2) {  // squaring doubles the length
    std::array<uint32_t, 32> squared{};
    for (size_t bit = 0; bit < 32; ++bit) squared[bit] = apply(columns, columns[bit]);
    columns = squared;
  }
  ShiftTable table{};
  for (size_t byte = 0; byte < 4; ++byte) {
    for (uint32_t value = 0; value < 256; ++value)
      table[byte][value] = apply(columns, value << (8 * byte));
  }
  return table;
}
constexpr ShiftTable kShift = shift_table();

uint64_t shift(uint64_t crc) {
  return kShift[0][crc & 0xff] ^ kShift[1][(crc >> 8) & 0xff] ^ kShift[2][(crc >> 16) & 0xff] ^
         kShift[3][(crc >> 24) & 0xff];
}

uint64_t word_at(const unsigned char* p) {
  uint64_t word = 0;
  std::memcpy(&word, p, 8);
  return word;
}

uint32_t update(uint32_t crc, const unsigned char* p, size_t bytes) {
  if (bytes >= 1024 && has_crc32c_fold()) {
    crc = crc32c_fold(crc, p, bytes);
    p += bytes - bytes % 256;
    bytes %= 256;
  }
  uint64_t a = crc;
  for (; bytes >= 3 * kStream; bytes -= 3 * kStream, p += 3 * kStream) {
    uint64_t b = 0, c = 0;
    for (size_t i = 0; i < kStream; i += 8) {
      a = _mm_crc32_u64(a, word_at(p + i));
      b = _mm_crc32_u64(b, word_at(p + kStream + i));
      c = _mm_crc32_u64(c, word_at(p + 2 * kStream + i));
    }
    a = shift(shift(a) ^ b) ^ c;
  }
  for (; bytes >= 8; bytes -= 8, p += 8) a = _mm_crc32_u64(a, word_at(p));
  auto result = static_cast<uint32_t>(a);
  for (; bytes > 0; --bytes, ++p) result = _mm_crc32_u8(result, *p);
  return result;
}

#else

uint32_t update(uint32_t crc, const unsigned char* p, size_t bytes) {
  for (; bytes > 0; --bytes, ++p) crc = kTable[(crc ^ *p) & 0xff] ^ (crc >> 8);
  return crc;
}

#endif

}  // namespace

uint32_t crc32c(uint32_t crc, const void* data, size_t bytes) {
  return ~update(~crc, static_cast<const unsigned char*>(data), bytes);
}

}  // namespace assay::data
