// The end of a zip archive, looked at before libzip makes room for what it announces.
#pragma once

#include <cstdint>
#include <string>

#include "data/tensor_file.h"

namespace assay::data {

constexpr uint64_t kMostZipEntries = 100'000;

/// Throws Error "WHERE: ..." unless the archive has one end record, whose directory lies directly
/// before it and has at most 32 MiB and kMostZipEntries entries.
void check_zip_directory(const std::string& where, const ByteSource& archive);

}  // namespace assay::data
