// SHA-256 (FIPS 180-4) by OpenSSL, for content hashes.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>

namespace assay::data {

/// Lower-case hex.
std::string sha256(std::string_view bytes);
/// Of a file's content. Throws Error naming the file where it cannot be read.
std::string sha256_file(const std::filesystem::path& file);

}  // namespace assay::data
