#include "data/tensor_formats.h"

#include <fmt/core.h>

#include <algorithm>
#include <cstring>
#include <string>

#include "data/base/within_memory.h"
#include "data/npz.h"
#include "data/safetensors.h"
#include "data/torch_file.h"
#include "kernels/base/error.h"

namespace assay::data {

namespace {

struct Stranger {
  std::string_view start;
  const char* what;
};
using namespace std::string_view_literals;
constexpr Stranger kStrangers[] = {
    {"\x93NUMPY"sv, "one array without a name; save it with numpy.savez(FILE, name=array)"},
    {"\x89HDF"sv, "an HDF5 file; write its tensors as safetensors"},
    {"GGUF"sv, "a GGUF file; write its tensors as safetensors"},
    {"version https://git-lfs"sv, "a pointer of Git LFS; get the file itself with git lfs pull"},
    {"<"sv, "it looks like a web page; download the file itself"},
};

TensorFile read_zip(const std::filesystem::path& file) {
  const ZipArchive archive(file);
  const auto any = [&](const char* end) {
    return std::any_of(archive.entries().begin(), archive.entries().end(),
                       [&](const ZipEntry& entry) { return entry.name.ends_with(end); });
  };
  if (any("data.pkl")) return read_torch(archive, file);
  if (any(".npy")) return read_npz(archive, file);
  throw Error(
      fmt::format("{}: a zip archive without data.pkl (torch.save) and without .npy arrays "
                  "(numpy.savez); write its tensors as safetensors",
                  file.string()));
}

}  // namespace

TensorFile read_tensors(const std::filesystem::path& file) {
  const std::shared_ptr<const ByteSource> bytes = open_bytes(file);
  std::string start(std::min<uint64_t>(64, bytes->size()), '\0');
  bytes->read(0, start.data(), start.size());
  uint64_t header = 0;
  std::memcpy(&header, start.data(), std::min<size_t>(start.size(), sizeof header));
  // First: the length of a header may have any bytes, also those that others begin with.
  if (start.size() > 8 && start[8] == '{' && header <= bytes->size() - 8)
    return read_safetensors(file);
  if (start.starts_with("PK")) return within_memory(file.string(), [&] { return read_zip(file); });
  if (start.starts_with('\x80')) return read_torch(file);
  for (const Stranger& stranger : kStrangers) {
    if (start.starts_with(stranger.start))
      throw Error(fmt::format("{}: {}", file.string(), stranger.what));
  }
  throw Error(
      fmt::format("{}: neither safetensors nor a zip archive of torch.save or numpy.savez "
                  "({}); write its tensors as safetensors",
                  file.string(), start.empty() ? "it is empty" : "by its first bytes"));
}

}  // namespace assay::data
