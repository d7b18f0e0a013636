#include "data/torch_file.h"

#include <fmt/core.h>

#include <algorithm>
#include <memory>

#include "data/base/within_memory.h"
#include "data/pickle.h"
#include "data/torch_values.h"
#include "kernels/base/error.h"

namespace assay::data {

namespace {

/// The entry of the pickle, whatever its folder is called; an Error where there is none or several.
const ZipEntry& find_pickle(const ZipArchive& archive, const std::string& file) {
  const std::string name = "data.pkl";
  const ZipEntry* found = nullptr;
  for (const ZipEntry& entry : archive.entries()) {
    const bool fits = entry.name == name || entry.name.ends_with("/" + name);
    if (fits && found != nullptr) {
      throw Error(
          fmt::format("{}: it has '{}' and '{}', expected one pickle; save it anew with "
                      "torch.save",
                      file, found->name, entry.name));
    }
    if (fits) found = &entry;
  }
  if (found != nullptr) return *found;
  throw Error(
      fmt::format("{}: a zip archive without {}, which torch.save would write", file, name));
}

void refuse_script(const ZipArchive& archive, const std::string& folder, const std::string& file) {
  for (const ZipEntry& entry : archive.entries()) {
    if (entry.name != folder + "constants.pkl" && !entry.name.starts_with(folder + "code/"))
      continue;
    throw Error(
        fmt::format("{}: a TorchScript archive (it has '{}'), whose code is not run; save "
                    "torch.jit.load(FILE).state_dict() with torch.save",
                    file, entry.name));
  }
}

void check_byte_order(const ZipArchive& archive, const std::string& folder,
                      const std::string& file) {
  const ZipEntry* entry = archive.find(folder + "byteorder");
  if (entry == nullptr) return;
  const std::string order = archive.text(*entry, 100);
  if (order == "little") return;
  throw Error(
      fmt::format("{}: bytes in order '{}', expected 'little'; save it anew on a "
                  "little-endian machine",
                  file, order));
}

TensorFile read_open(const ZipArchive& archive, const std::filesystem::path& file) {
  const ZipEntry& entry = find_pickle(archive, file.string());
  const std::string folder =
      entry.name.substr(0, entry.name.size() - std::string("data.pkl").size());
  refuse_script(archive, folder, file.string());
  check_byte_order(archive, folder, file.string());
  const Pickle pickle = read_pickle(archive.text(entry, kLongestPickle), file.string());
  TensorFile content;
  content.path = file;
  const auto storage_of = [&](const std::string& key) -> std::shared_ptr<const ByteSource> {
    const ZipEntry* storage = archive.find(folder + "data/" + key);
    return storage == nullptr ? nullptr : archive.open(*storage);
  };
  collect_values(pickle, storage_of, content);
  return content;
}

/// Pickles that are in no archive.
void refuse_bare_pickle(const std::filesystem::path& file) {
  const std::string magic("\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19", 14);
  const std::shared_ptr<const ByteSource> bytes = open_bytes(file);
  std::string start(std::min<uint64_t>(magic.size(), bytes->size()), '\0');
  bytes->read(0, start.data(), start.size());
  if (start == magic) {
    throw Error(
        fmt::format("{}: a file of torch before 1.6, which is no zip archive; save it "
                    "anew: torch.save(torch.load(FILE, weights_only=True), FILE)",
                    file.string()));
  }
  if (start.size() >= 2 && start[0] == '\x80' && start[1] >= 2 && start[1] <= 5) {
    throw Error(
        fmt::format("{}: a pickle, which could run code: it is not read; save its tensors "
                    "with torch.save or as safetensors",
                    file.string()));
  }
}

}  // namespace

TensorFile read_torch(const ZipArchive& archive, const std::filesystem::path& file) {
  return within_memory(file.string(), [&] { return read_open(archive, file); });
}

TensorFile read_torch(const std::filesystem::path& file) {
  refuse_bare_pickle(file);
  return within_memory(file.string(), [&] { return read_open(ZipArchive(file), file); });
}

}  // namespace assay::data
