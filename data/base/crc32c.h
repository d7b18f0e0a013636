// CRC32C (Castagnoli, RFC 3720 appendix B.4), the checksum of every chunk.
//
// Computed by carry-less multiplication in 512-bit registers where the processor has them, else by
// the SSE4.2 instruction on three streams; -DASSAY_CRC32C_TABLE compiles a table instead. All give
// the same checksum.
#pragma once

#include <cstddef>
#include <cstdint>

namespace assay::data {

/// The checksum of `bytes` bytes, continuing from `crc`, the checksum of what came before (0 at the
/// start).
uint32_t crc32c(uint32_t crc, const void* data, size_t bytes);

}  // namespace assay::data
