// SHA-256 (FIPS 180-4) by OpenSSL, for content hashes.
#pragma once

#include <cstddef>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>

namespace assay::data {

/// Bytes one after another.
class Sha256 {
 public:
  Sha256();
  ~Sha256();
  void add(const void* bytes, size_t count);
  /// Lower-case hex; ends the sum.
  std::string hex();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

/// Lower-case hex.
std::string sha256(std::string_view bytes);
/// Of a file's content. Throws Error naming the file where it cannot be read.
std::string sha256_file(const std::filesystem::path& file);

}  // namespace assay::data
