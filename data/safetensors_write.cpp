#include <algorithm>
#include <nlohmann/json.hpp>

#include "data/base/atomic_file.h"
#include "data/base/sha256.h"
#include "data/safetensors.h"

namespace assay::data {

namespace {

constexpr size_t kBlock = 1 << 22;  // hashed while it is still in cache

std::string header_of(const std::map<std::string, TensorView>& tensors) {
  nlohmann::json header = nlohmann::json::object();
  uint64_t offset = 0;
  for (const auto& [name, tensor] : tensors) {
    header[name] = {{"dtype", tensor.dtype},
                    {"shape", tensor.shape},
                    {"data_offsets", {offset, offset + tensor.bytes}}};
    offset += tensor.bytes;
  }
  std::string text = header.dump();
  text.resize((text.size() + 7) / 8 * 8, ' ');
  return text;
}

}  // namespace

TensorView view_of(const std::vector<float>& values, std::vector<int64_t> shape) {
  return {"F32", std::move(shape), values.data(), values.size() * sizeof(float)};
}

TensorView view_of(const std::vector<int64_t>& values) {
  return {
      "I64", {static_cast<int64_t>(values.size())}, values.data(), values.size() * sizeof(int64_t)};
}

std::string write_safetensors(const std::map<std::string, TensorView>& tensors,
                              const std::filesystem::path& file) {
  AtomicFile out(file);
  Sha256 sum;
  const auto put = [&](const void* data, size_t bytes) {
    const auto* at = static_cast<const char*>(data);
    for (size_t done = 0; done < bytes; done += kBlock) {
      const size_t count = std::min(kBlock, bytes - done);
      sum.add(at + done, count);
      out.write(at + done, count);
    }
  };
  const std::string header = header_of(tensors);
  const uint64_t length = header.size();
  put(&length, sizeof length);
  put(header.data(), header.size());
  for (const auto& [name, tensor] : tensors) put(tensor.data, tensor.bytes);
  out.finish();
  return sum.hex();
}

}  // namespace assay::data
