#include "data/base/sha256.h"

#include <fmt/core.h>
#include <openssl/evp.h>

#include <fstream>
#include <memory>
#include <vector>

#include "kernels/base/error.h"

namespace assay::data {

struct Sha256::State {
  std::unique_ptr<EVP_MD_CTX, void (*)(EVP_MD_CTX*)> context{EVP_MD_CTX_new(), EVP_MD_CTX_free};
};

Sha256::Sha256() : state_(std::make_unique<State>()) {
  if (!state_->context || EVP_DigestInit_ex(state_->context.get(), EVP_sha256(), nullptr) != 1)
    throw Error("SHA-256 is not available");
}

Sha256::~Sha256() = default;

void Sha256::add(const void* bytes, size_t count) {
  if (EVP_DigestUpdate(state_->context.get(), bytes, count) != 1) throw Error("SHA-256 failed");
}

std::string Sha256::hex() {
  unsigned char digest[32];
  unsigned length = 0;
  if (EVP_DigestFinal_ex(state_->context.get(), digest, &length) != 1)
    throw Error("SHA-256 failed");
  std::string text;
  for (unsigned i = 0; i < length; ++i) text += fmt::format("{:02x}", digest[i]);
  return text;
}

std::string sha256(std::string_view bytes) {
  Sha256 hasher;
  hasher.add(bytes.data(), bytes.size());
  return hasher.hex();
}

std::string sha256_file(const std::filesystem::path& file) {
  std::ifstream in(file, std::ios::binary);
  if (!in) throw Error(fmt::format("{}: cannot open the file", file.string()));
  Sha256 hasher;
  std::vector<char> block(1 << 20);
  while (in.read(block.data(), static_cast<std::streamsize>(block.size())) || in.gcount() > 0) {
    hasher.add(block.data(), static_cast<size_t>(in.gcount()));
  }
  if (in.bad()) throw Error(fmt::format("{}: reading failed", file.string()));
  return hasher.hex();
}

}  // namespace assay::data
