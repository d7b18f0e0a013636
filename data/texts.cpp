#include <fmt/core.h>

#include <algorithm>
#include <cstring>

#include "data/dataset.h"
#include "data/hdf5.h"
#include "data/hdf5_values.h"
#include "data/untrusted.h"
#include "kernels/base/error.h"

namespace assay::data {
namespace {

namespace fs = std::filesystem;

constexpr int64_t kMostTexts = int64_t{1} << 32;

/// In the child: the offsets' number, the offsets, the bytes.
std::string read_all(const fs::path& path) {
  const std::string where = path.string();
  const hdf5::Handle file = hdf5::open_file(path);
  const std::vector<int64_t> offsets =
      hdf5::read_vector<int64_t>(file, "/text_offsets", kMostTexts, where);
  const hdf5::Handle bytes = hdf5::open_dataset(file, "/text_bytes", where);
  const std::vector<int64_t> dims = hdf5::shape(bytes, where);
  const hdf5::Handle type = hdf5::own(H5Dget_type(bytes), where, "/text_bytes");
  if (dims.size() != 1 || H5Tequal(type, H5T_STD_U8LE) <= 0) {
    throw Error(fmt::format("{}: /text_bytes must be uint8 in one dimension", where));
  }
  hdf5::require_written(bytes, "/text_bytes", where);
  const int64_t count = static_cast<int64_t>(offsets.size());
  std::string out(static_cast<size_t>(8 + 8 * count + dims[0]), '\0');
  std::memcpy(out.data(), &count, 8);
  if (count > 0) std::memcpy(out.data() + 8, offsets.data(), static_cast<size_t>(8 * count));
  if (dims[0] > 0) {
    hdf5::check(
        H5Dread(bytes, H5T_NATIVE_UINT8, H5S_ALL, H5S_ALL, H5P_DEFAULT, out.data() + 8 + 8 * count),
        where, "cannot read /text_bytes");
  }
  return out;
}

}  // namespace

std::optional<std::vector<std::string>> read_texts(const fs::path& dataset) {
  const fs::path path =
      fs::is_directory(dataset) ? dataset / "texts.h5" : dataset.parent_path() / "texts.h5";
  if (!fs::exists(path)) return std::nullopt;
  const auto size = static_cast<int64_t>(fs::file_size(path));
  IsolationLimits limits;
  limits.memory_bytes += 4 * size;
  limits.answer_bytes = std::max<int64_t>(limits.answer_bytes, 2 * size);
  const std::string all = run_isolated(
      path.string(), [](std::string_view file) { return read_all(fs::path(file)); }, path.string(),
      limits);
  int64_t count = 0;
  if (all.size() < 8) throw Error(path.string() + ": damaged");
  std::memcpy(&count, all.data(), 8);
  if (count < 1 || count > static_cast<int64_t>(all.size() - 8) / 8) {
    throw Error(path.string() + ": /text_offsets must have one entry more than there are texts");
  }
  std::vector<int64_t> offsets(static_cast<size_t>(count));
  std::memcpy(offsets.data(), all.data() + 8, offsets.size() * 8);
  const char* bytes = all.data() + 8 + 8 * count;
  const int64_t total = static_cast<int64_t>(all.size()) - 8 - 8 * count;
  std::vector<std::string> texts;
  for (size_t i = 0; i + 1 < offsets.size(); ++i) {
    if (offsets[i] < 0 || offsets[i] > offsets[i + 1] || offsets[i + 1] > total) {
      throw Error(fmt::format("{}: text {} has bytes {} to {} of {}", path.string(), i, offsets[i],
                              offsets[i + 1], total));
    }
    texts.emplace_back(bytes + offsets[i], static_cast<size_t>(offsets[i + 1] - offsets[i]));
  }
  return texts;
}

}  // namespace assay::data
