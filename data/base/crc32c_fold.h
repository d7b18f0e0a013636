// CRC32C by carry-less multiplication in 512-bit registers, for processors that have them.
//
// Gopal et al., "Fast CRC Computation for Generic Polynomials Using PCLMULQDQ Instruction" (Intel,
// 2009): sixteen lanes of 128 bits are folded over the data, each step multiplying by x^2048 modulo
// the polynomial; the last lane's 16 bytes have the checksum of everything.
#pragma once

#include <cstddef>
#include <cstdint>

namespace assay::data {

/// Whether this processor can run crc32c_fold.
bool has_crc32c_fold();

/// The raw (not inverted) state after the first bytes - bytes % 256 bytes of p; bytes >= 256.
uint32_t crc32c_fold(uint32_t state, const unsigned char* p, size_t bytes);

}  // namespace assay::data
